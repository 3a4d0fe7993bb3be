"""Where the shipped models are. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from models.classifier_spec import ClassifierSpec
from models.errors import CheckpointError
from models.files import (
    CLASSIFIER_FILE,
    SPEC_FILE,
    WEIGHTS_FILE,
    read_classifier_spec,
    read_spec,
)  # fmt: skip
from models.spec import ModelSpec


class ShippedModel(NamedTuple):
    """A generator of the zoo: its folder and its spec."""

    directory: Path
    spec: ModelSpec

    @property
    def weights_path(self) -> Path:
        """The safetensors file."""
        return self.directory / WEIGHTS_FILE

    @property
    def card_path(self) -> Path:
        """The model card, Markdown."""
        return self.directory / "card.md"

    @property
    def preview_path(self) -> Path:
        """A contact sheet, one class a row."""
        return self.directory / "preview.png"


class ShippedClassifier(NamedTuple):
    """A judge of the zoo: its folder and its spec."""

    directory: Path
    spec: ClassifierSpec

    @property
    def weights_path(self) -> Path:
        """The safetensors file."""
        return self.directory / WEIGHTS_FILE


def zoo_folder() -> Path:
    """The folder of this package, installed or not."""
    return Path(__file__).parent


def shipped() -> tuple[ShippedModel, ...]:
    """The generators, by name."""
    folders = sorted(path.parent for path in zoo_folder().glob(f"*/{SPEC_FILE}"))
    return tuple(ShippedModel(folder, read_spec(folder)) for folder in folders)


def shipped_classifiers() -> tuple[ShippedClassifier, ...]:
    """The classifiers, by name."""
    folders = sorted(path.parent for path in zoo_folder().glob(f"*/{CLASSIFIER_FILE}"))
    return tuple(ShippedClassifier(folder, read_classifier_spec(folder)) for folder in folders)


def shipped_model(name: str) -> ShippedModel:
    """The generator of that name."""
    for model in shipped():
        if model.spec.name == name:
            return model
    known = ", ".join(model.spec.name for model in shipped())
    raise CheckpointError(f"no model {name!r} is shipped; there are: {known}")
