"""The checks of a plan: everything that decides which candidates are refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Range:
    """Both ends are let through."""

    least: float
    most: float

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The range of JSON."""
        return cls(**document)


@dataclass(frozen=True, slots=True)
class PlannedAgreement:
    """A classifier, pinned by content, and how sure it has to be of the class asked for."""

    name: str
    version: str
    sha256: str
    min_confidence: float
    labels: tuple[int, ...]
    """Of each class of the plan its position among those of the classifier; -1: not among them,
    and not asked for."""

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The agreement of JSON."""
        return cls(**{**document, "labels": tuple(document["labels"])})


@dataclass(frozen=True, slots=True)
class PlannedDuplicates:
    """What counts as a near duplicate."""

    method: str
    """Of the hashes that are compared: `phash`."""
    distance: int
    """Bits in which two may differ."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The check of JSON."""
        return cls(**document)


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """What unseen real images say of how near is too near; it follows from the rest of the plan."""

    threshold: float
    """A candidate at this distance or nearer is a copy. Relative: 1 is the usual one."""
    usual: tuple[float, ...]
    """Of each class of the plan the usual distance, in levels; one alone where classes do not
    matter."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The limits of JSON."""
        return cls(**{**document, "usual": tuple(document["usual"])})


@dataclass(frozen=True, slots=True)
class PlannedCopies:
    """Training images, pinned by content, and what counts as too near to one."""

    dataset: str
    """Name of the real dataset."""
    sha256: str
    """Of its pixels, classes and splits."""
    percentile: float
    space: str
    """Where distances are taken, as reports name it."""
    training: str
    """The split of the images that must not be copied."""
    holdout: str
    """The split of the unseen images."""
    fit: str
    resample: str
    """How real images of another size become like the samples: as those did that were learnt."""
    labels: tuple[int, ...]
    """Of each class of the plan its label in the real dataset; -1: not asked for. Empty where the
    models are not asked by class: every training image counts then."""
    limits: CopyLimits | None = None
    """The first worker finds them out, and writes them into the plan."""

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The check of JSON."""
        limits = document.get("limits")
        return cls(
            **{
                **document,
                "labels": tuple(document["labels"]),
                "limits": CopyLimits.from_json(limits) if limits else None,
            }
        )


@dataclass(frozen=True, slots=True)
class PlannedChecks:
    """None: that is not checked."""

    brightness: Range | None = None
    contrast: Range | None = None
    label_agreement: PlannedAgreement | None = None
    near_duplicates: PlannedDuplicates | None = None
    copies: PlannedCopies | None = None

    def to_json(self) -> dict[str, Any]:
        """The checks that there are, as JSON has them."""
        return {
            name: {key: list(v) if isinstance(v, tuple) else v for key, v in check.items()}
            for name, check in asdict(self).items()
            if check is not None
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The checks that `to_json` wrote."""
        return cls(**{name: _KINDS[name].from_json(check) for name, check in document.items()})


_KINDS: dict[str, Any] = {
    "brightness": Range,
    "contrast": Range,
    "label_agreement": PlannedAgreement,
    "near_duplicates": PlannedDuplicates,
    "copies": PlannedCopies,
}
