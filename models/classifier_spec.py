"""What a classifier says of itself: a JSON document beside its weights. Imports no torch.

It lives in `classifier.json`, not `spec.json`: a classifier is no generator and never listed as
one.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator

from models.spec import ClassName, Frozen, ImageShape, ModelName, Version, Weights


class ClassifierSpec(Frozen):
    """A trained judge of labels; the position of a class name is its label."""

    format: Literal[1] = 1
    name: ModelName
    version: Version
    image: ImageShape
    classes: tuple[ClassName, ...] = Field(min_length=2)
    licence: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: Annotated[str, StringConstraints(max_length=2000)] = ""
    weights: Weights
    training: dict[str, JsonValue] = {}
    figures: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("class names must differ from one another")
        return self

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def sha256(self) -> str:
        """Identity of the classifier: SHA-256 of canonical JSON of what decides its verdicts.

        The weights by their digest, the classes and the image; not the figures of its card.
        """
        deciding = {"format", "name", "version", "image", "classes", "weights"}
        document = self.model_dump(mode="json", include=deciding)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> str:
        """Indented JSON, for people and version control."""
        return self.model_dump_json(indent=2) + "\n"
