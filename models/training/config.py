"""What a training run is told, fixed before it starts. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, ValidationError, model_validator

from models.corpus.preprocessing import Preprocessing
from models.corpus.source import Split
from models.errors import TrainingError
from models.spec import Frozen, ModelName, Version
from models.training.recipe import Recipe
from models.training.recipes import recipe_of

OPTIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "mlp_gan": (),
        "cgan": ("base", "stages"),
        "stylegan2": (
            "style_dim", "mapping_layers", "channel_base", "channel_max", "channels", "noise",
            "truncation", "truncation_layers",
        ),
        "vae": ("hidden",),
        "cvae": ("base", "stages"),
    }
)  # fmt: skip
"""Names of the options of each architecture. Their limits are beside its network, under torch."""


class TrainingConfig(Frozen):
    """One run, whole: the same configuration on the same images learns the same model.

    A JSON document both ways. Where the images are and where files go is not part of it.

    licence: of the weights that come out.
    conditional: whether the generator takes the label.
    settings: options of the recipe, in place of its own (`Recipe.with_overrides`).
    options: of the architecture, in place of those that the size of the images suggests.
    seed: of the first weights, the order of images, latents and dropout.
    steps, epochs, minutes: the run ends at the first that is reached. Minutes are those of the
        whole run, judging and saving too. With none of them, the recipe's epochs.
    preprocessing: size and channels that images are brought to; None takes them as they are.
    split: of a dataset that has several, the one to learn from; None for its training split.
    validation: share (below 1) or number of images that are never learnt from, drawn by the seed
        evenly over the classes; the best snapshot is chosen on them. 0 for none: the last is taken.
    snapshot_steps, snapshot_minutes: between two snapshots, which are saved and judged. With
        neither, fifteen in a run.
    checkpoint_minutes: between two saves of the whole state, beside those of each snapshot.
    keep: so many snapshots stay, the best ones.
    patience: end after so many snapshots without a better figure; None never does.
    threads: of the processor; None for all.
    device: "auto" takes CUDA, then MPS, then the processor.
    """

    architecture: Annotated[str, StringConstraints(max_length=32)]
    name: ModelName
    version: Version = "1.0.0"
    licence: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "unknown"
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    conditional: bool = True
    settings: dict[str, JsonValue] = {}
    options: dict[str, JsonValue] = {}
    seed: int = Field(0, ge=0, lt=1 << 31)
    steps: int | None = Field(None, ge=1, le=1 << 31)
    epochs: int | None = Field(None, ge=1, le=1 << 31)
    minutes: float | None = Field(None, gt=0, le=1 << 20)
    preprocessing: Preprocessing | None = None
    split: Split | None = None
    validation: float = Field(0.1, ge=0, le=1 << 31)
    snapshot_steps: int | None = Field(None, ge=1)
    snapshot_minutes: float | None = Field(None, ge=0)
    checkpoint_minutes: float = Field(2.0, ge=0)
    keep: int = Field(3, ge=1, le=10_000)
    patience: int | None = Field(8, ge=1)
    threads: int | None = Field(None, ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("say steps or epochs, not both")
        if self.validation >= 1 and self.validation != int(self.validation):
            raise ValueError("validation is a share below 1 or a whole number of images")
        try:
            _ = self.recipe
        except TrainingError as error:
            raise ValueError(str(error)) from error
        known = OPTIONS[self.architecture]
        strange = sorted(self.options.keys() - set(known))
        if strange:
            there = ", ".join(known) or "none"
            raise ValueError(f"{self.architecture} has no option {strange[0]!r}; it has: {there}")
        return self

    @property
    def recipe(self) -> Recipe:
        """How this run's architecture learns, its own settings in place."""
        return recipe_of(self.architecture).with_overrides(self.settings)


def configured(**fields: Any) -> TrainingConfig:
    """A configuration from what a person said. Raises TrainingError with a sentence."""
    try:
        return TrainingConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        sentence = str(first["msg"]).removeprefix("Value error, ")
        raise TrainingError(f"{where}: {sentence}" if where else sentence) from error
