"""What a client asks for: a training or an evaluation. Pure, and without torch."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
)

from app.errors import UnknownOptionError, ValidationError
from app.jobs.webhook import Webhook
from models.corpus.preprocessing import Preprocessing
from models.errors import TrainingError
from models.evaluation.options import EvaluationOptions
from models.spec import NAME_PATTERN
from models.training.config import TrainingConfig, configured
from models.training.recipes import RECIPES, options_schema

DatasetRef = Annotated[StrictStr, StringConstraints(min_length=1, max_length=40)]
ModelRef = Annotated[StrictStr, StringConstraints(min_length=1, max_length=100)]
MAX_SEED = 2**53 - 1
MOST_DRAWN = 20_000
"""Samples that an evaluation draws of a model, at most: figures do not get better by more."""


class Size(BaseModel):
    """How images are brought to one size and number of channels; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    height: Annotated[StrictInt, Field(ge=1, le=4096)] | None = None
    width: Annotated[StrictInt, Field(ge=1, le=4096)] | None = None
    channels: Literal[1, 3, 4] | None = None
    fit: Literal["crop", "pad", "stretch"] | None = None
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] | None = None


class TrainingRequest(BaseModel):
    """A request to train a model. What is left out is as the architecture's recipe says."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    architecture: Annotated[StrictStr, StringConstraints(max_length=32)] = Field(
        description="one of those that can be trained"
    )
    dataset: DatasetRef = Field(description="id of an uploaded dataset: ds_…")
    name: Annotated[StrictStr, StringConstraints(max_length=64)] = Field(
        description="of the model; it becomes version 1.0.0 of it, or the next minor one"
    )
    licence: Annotated[StrictStr, StringConstraints(min_length=1, max_length=200)] | None = None
    description: Annotated[StrictStr, StringConstraints(max_length=2000)] | None = None
    conditional: StrictBool | None = Field(
        default=None, description="whether the model can be asked for a class"
    )
    recipe: dict[StrictStr, JsonValue] = Field(
        default={}, description="options of the recipe by name, in place of its own"
    )
    options: dict[StrictStr, JsonValue] = Field(
        default={}, description="options of the architecture, like the width of its layers"
    )
    size: Size | None = Field(default=None, description="of the images to learn from")
    split: Annotated[StrictStr, StringConstraints(min_length=1, max_length=64)] | None = None
    validation: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="share or number of images kept out, to choose the best snapshot"
    )
    seed: StrictInt | None = None
    steps: StrictInt | None = None
    epochs: StrictInt | None = None
    minutes: float | None = None
    snapshot_steps: StrictInt | None = None
    snapshot_minutes: float | None = None
    patience: StrictInt | None = Field(
        default=None, description="end after so many snapshots without a better figure; 0: never"
    )
    accept_degenerate: StrictBool = Field(
        default=False, description="register it although its images are not worth serving"
    )
    webhook: Webhook | None = Field(
        default=None, description="who is told when the training has ended"
    )


def training_config(
    request: TrainingRequest, preprocessing: Preprocessing | None, threads: int, device: str
) -> TrainingConfig:
    """The configuration of a training, checked.

    preprocessing: None for the images as they are. Raises UnknownOptionError, ValidationError.
    """
    if request.architecture not in RECIPES:
        raise UnknownOptionError(
            f"No architecture {request.architecture[:40]!a} can be trained here. There are: "
            f"{', '.join(RECIPES)}.",
            options=sorted(RECIPES),
        )
    if not re.fullmatch(NAME_PATTERN, request.name):
        raise ValidationError(
            f"{request.name[:80]!a} can't be the name of a model: 1 to 64 of a-z, 0-9, '.', '_' "
            "and '-', with a letter or digit at both ends."
        )
    _refuse_unknown_recipe(request)
    asked = request.model_dump(
        exclude={"dataset", "recipe", "size", "accept_degenerate", "webhook"}, exclude_none=True
    )
    if asked.get("patience") == 0:
        asked["patience"] = None
    try:
        return configured(
            **asked,
            settings=request.recipe,
            preprocessing=preprocessing,
            threads=threads,
            device=device if device in ("cpu", "cuda", "mps") else "auto",
        )
    except TrainingError as error:
        raise ValidationError(f"This can't be trained: {error}.") from error


def _refuse_unknown_recipe(request: TrainingRequest) -> None:
    known = options_schema(request.architecture)["properties"]
    assert isinstance(known, dict)
    unknown = sorted(request.recipe.keys() - known.keys())
    if unknown:
        raise UnknownOptionError(
            f"The recipe of {request.architecture} has no option {unknown[0][:60]!a}. There are: "
            f"{', '.join(sorted(known))}.",
            options=sorted(known),
        )


class Subject(BaseModel):
    """Whose samples are measured: exactly one of a model, a job and a dataset."""

    model_config = ConfigDict(extra="forbid")
    model: ModelRef | None = Field(default=None, description="`name` or `name@version`")
    samples_per_class: Annotated[StrictInt, Field(ge=1, le=MOST_DRAWN)] | None = Field(
        default=None, description="of a model: how many are drawn; as many as there are real ones"
    )
    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)] | None = Field(
        default=None, description="of a model: a job with the same seed draws the same samples"
    )
    job: Annotated[StrictStr, StringConstraints(max_length=40)] | None = Field(
        default=None, description="a job that has succeeded"
    )
    dataset: DatasetRef | None = None

    def checked(self) -> Subject:
        """Itself. Raises ValidationError where it is not exactly one."""
        if sum(each is not None for each in (self.model, self.job, self.dataset)) != 1:
            raise ValidationError(
                'The subject is one of {"model": "name@version"}, {"job": "job_…"} and '
                '{"dataset": "ds_…"}.'
            )
        if self.model is None and (self.samples_per_class, self.seed) != (None, None):
            raise ValidationError("samples_per_class and seed are of a model that is drawn from.")
        return self


class AskedOptions(BaseModel):
    """Choices of an evaluation; what is left out is as the service thinks best."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    lift: StrictBool | None = Field(
        default=None, description="whether to train classifiers with and without the samples"
    )
    minutes: Annotated[float, Field(gt=0, le=1 << 20)] | None = Field(
        default=None, description="budget; what does not fit is left out, and said"
    )
    backbone: Literal["classifier", "pixels"] | None = Field(
        default=None, description="the space of the figures"
    )
    sample_limit: Annotated[StrictInt, Field(ge=10, le=50_000)] | None = None
    neighbours: Annotated[StrictInt, Field(ge=1, le=50)] | None = None
    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)] | None = None


class EvaluationRequest(BaseModel):
    """A request to measure samples against real images."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    subject: Subject
    against: DatasetRef = Field(description="id of an uploaded dataset of real images: ds_…")
    options: AskedOptions = AskedOptions()
    gate: dict[StrictStr, float | StrictStr] | list[StrictStr] = Field(
        default={}, description="conditions on figures; one that does not hold fails the run"
    )
    webhook: Webhook | None = Field(
        default=None, description="who is told when the evaluation has ended"
    )


def evaluation_options(request: EvaluationRequest, **known: Any) -> EvaluationOptions:
    """The choices of an evaluation; known: what the service adds, like names."""
    asked = request.options.model_dump(exclude_none=True)
    return EvaluationOptions.model_validate({**asked, **known})
