"""The content of what a recipe names: as a service knows it, or as it comes with Synthloom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from app.client import Client
from models.classifier_spec import ClassifierSpec
from models.spec import ModelSpec
from models.zoo.catalogue import shipped, shipped_classifiers


class Contents(Protocol):
    """Knows the SHA-256 of what a recipe names."""

    def model(self, name: str) -> str:
        """Of a model."""

    def classifiers(self) -> Mapping[str, str]:
        """Of every classifier, by its name and by its name and version."""

    def dataset(self, name: str) -> str:
        """Of the content of a dataset."""


@dataclass(frozen=True)
class OfService:
    """What a service has. Raises errors of the client."""

    client: Client

    def model(self, name: str) -> str:
        """As of `Contents`."""
        return self.client.model(name).sha256

    def classifiers(self) -> Mapping[str, str]:
        """As of `Contents`."""
        return _by_name(
            [(one.name, one.reference, one.sha256) for one in self.client.classifiers()]
        )

    def dataset(self, name: str) -> str:
        """As of `Contents`."""
        return self.client.dataset(name).sha256


@dataclass(frozen=True)
class OfPackage:
    """What a service has that begins with nothing: what is shipped.

    Raises LookupError for anything else.
    """

    models: tuple[ModelSpec, ...] = field(
        default_factory=lambda: tuple(spec for _, spec in shipped())
    )
    judges: tuple[ClassifierSpec, ...] = field(
        default_factory=lambda: tuple(one.spec for one in shipped_classifiers())
    )

    def model(self, name: str) -> str:
        """As of `Contents`."""
        return _by_name([(one.name, one.ref, one.sha256) for one in self.models])[name]

    def classifiers(self) -> Mapping[str, str]:
        """As of `Contents`."""
        return _by_name([(one.name, one.ref, one.sha256) for one in self.judges])

    def dataset(self, name: str) -> str:
        """As of `Contents`: there is none."""
        raise LookupError(name)


def _by_name(known: list[tuple[str, str, str]]) -> dict[str, str]:
    """Name, name@version and SHA-256 as a mapping; the last of a name is the one it means."""
    found: dict[str, str] = {}
    for name, reference, sha256 in known:
        found |= {name: sha256, reference: sha256}
    return found
