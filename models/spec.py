"""What a model says of itself: a JSON document, never code. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){0,2}$")]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=255)]

MAPPING = frozenset({"stylegan2"})
"""Architectures that map a latent to a style, and know the mean style."""

UNLABELLED = "unlabelled"
"""The one class of a model that cannot be asked for a class."""


class Frozen(BaseModel):
    """Immutable, and a misspelled key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageShape(Frozen):
    """Size of every image of a model, in pixels."""

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    channels: Literal[1, 3, 4]

    @property
    def bytes(self) -> int:
        """Bytes of one image as uint8."""
        return self.height * self.width * self.channels


class Weights(Frozen):
    """The tensors that belong to a spec: a safetensors file, by content."""

    sha256: Sha256
    bytes: int = Field(ge=1)


class ModelSpec(Frozen):
    """A registered generator, without its tensors.

    `classes` is empty exactly when `conditioning` is "none"; else the position of a name is the
    integer label that the generator takes. `options` are the keyword arguments of the
    architecture. `value_range` is what the generator's floats span: (-1, 1) after Tanh, (0, 1)
    after Sigmoid. `training` and `figures` are the model card's facts.
    """

    format: Literal[1] = 1
    name: ModelName
    version: Version
    family: Literal["gan", "vae"]
    architecture: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    options: dict[str, JsonValue] = {}
    image: ImageShape
    latent_size: int = Field(ge=1, le=65536)
    conditioning: Literal["none", "class"]
    classes: tuple[ClassName, ...] = ()
    value_range: tuple[float, float]
    licence: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    weights: Weights
    training: dict[str, JsonValue] = {}
    figures: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.conditioning == "class") != bool(self.classes):
            raise ValueError('classes are named exactly when conditioning is "class"')
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must differ from one another")
        if not self.value_range[0] < self.value_range[1]:
            raise ValueError("value_range is (lowest, highest)")
        return self

    @property
    def conditional(self) -> bool:
        """Whether the generator takes a label."""
        return self.conditioning == "class"

    @property
    def maps_latents(self) -> bool:
        """Whether its images can be moved towards the one of its mean style: psi."""
        return self.architecture in MAPPING

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that samples of this model can have."""
        return self.classes or (UNLABELLED,)

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def sha256(self) -> str:
        """Identity of the model: SHA-256 of the canonical JSON, which holds the tensors' digest."""
        return hashlib.sha256(self.canonical()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, which has an identity of its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("sha256", None)
        return copied

    def canonical(self) -> bytes:
        """The spec as UTF-8 JSON with sorted keys and no spaces: equal specs, equal bytes."""
        document = self.model_dump(mode="json")
        text = json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode()

    def to_json(self) -> str:
        """The spec as indented JSON, for people and version control."""
        return self.model_dump_json(indent=2) + "\n"
