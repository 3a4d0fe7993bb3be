"""The job made explicit: sample index 0…N-1 → (class, model, seed). Pure; stores nothing.

A plan is a short list of *cells* (so many samples of this class from this model) cut into
stratified *shards*: shard s takes of each cell its proportional share, so partial results are
balanced and any shard can be computed alone, however large the job. The samples of shard s own
the contiguous indices `start(s)` … `start(s+1)-1`.

Where the transforms make k variants of each drawn image, these are k samples with consecutive
indices in one shard. Of a cell whose count k does not divide, the last image has fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.checks.planned import PlannedChecks
from app.jobs.encoding import PNG, Encoding, encoding_of
from app.jobs.identity import dataset_identifier
from app.jobs.merge import PlannedMerge, merge_of
from app.jobs.sampling import Sampling
from app.jobs.transforms import Transform, transforms_of
from models.spec import ImageShape

_GOLDEN = 0.6180339887498949
_LATER = ("checks", "merge", "transforms", "sampling", "c2pa", "variants")
"""Left out of a plan that has none, which stays what it was before there were any."""
_SMALLEST_BATCH = 8


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model as the plan pins it: by content, never by a name that may move."""

    name: str
    version: str
    sha256: str
    weight: float

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class PlannedClassifier:
    """Who labels what models that take no class draw; pinned by content too."""

    name: str
    version: str
    sha256: str
    min_confidence: float
    """What it labels with a smaller probability is refused."""

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Cell:
    """`count` samples of one class from one model."""

    model: int
    """Position in `Plan.models`."""
    label: int
    """Position in `Plan.classes`: the label in the dataset."""
    condition: int
    """The label the generator takes; -1 where it takes none."""
    count: int


@dataclass(frozen=True)
class Shard:
    """A contiguous index range of one plan: the unit of work, retry and storage."""

    index: int
    first: int
    """Index of the shard's first sample in the dataset."""
    cells: NDArray[np.int32]
    """[n] for each sample its cell, an index into `Plan.cells`."""
    drawn: NDArray[np.int32]
    """[d] for each image that has to be drawn its cell: `cells` where each is one sample."""
    copies: NDArray[np.int64]
    """[d] how many samples become of it."""

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.cells)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """int64 [d]: position of the first sample of each drawn image."""
        return np.cumsum(self.copies) - self.copies

    def places(self, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [m]: positions of the samples of some drawn images [n], image by image."""
        copies = self.copies[drawn]
        return np.repeat(self.starts[drawn], copies) + numbered(copies)

    def variants(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """int64 [n] each: the index in the dataset of the first variant of a sample's image, and
        which of its variants the sample is."""
        return np.repeat(self.first + self.starts, self.copies), numbered(self.copies)


@dataclass(frozen=True)
class Plan:
    """Everything that decides what the samples of a job are."""

    seed: int
    classes: tuple[str, ...]
    models: tuple[PlannedModel, ...]
    cells: tuple[Cell, ...]
    image: ImageShape
    shards: int
    engine_batch: int
    encoder: str
    """Name and version of the image encoder: the same plan gives the same bytes."""
    encoding: Encoding = PNG
    """The form of the image files."""
    precision: str = "float32"
    """What the generators compute in: `float32` or `bfloat16`."""
    labelled_by: PlannedClassifier | None = None
    """Labels every candidate, where the models take no class but samples are asked by class."""
    real_samples_per_class: dict[str, int] | None = None
    """The real images that these samples are to balance, by class."""
    marks: int = 0
    """The form of the marks in the image files: 1 is that of `app/datasets/marks.py`; 0, no marks,
    as in plans of the time before there were any."""
    transforms: tuple[Transform, ...] = ()
    """What happens to each image after it is drawn and checked, in this order."""
    merge: PlannedMerge | None = None
    """The real dataset that stands beside the samples in the archives."""
    sampling: Sampling | None = None
    """How latents differ from standard normals; None where they don't."""
    checks: PlannedChecks | None = None
    """What candidates are refused for, beside values that are not finite."""
    c2pa: bool = False
    """Whether image files are signed: `app/datasets/signing.py`."""
    variants: int = 1
    """Samples that become of a drawn image, each transformed by numbers of its own."""

    @cached_property
    def samples(self) -> int:
        """N."""
        return sum(cell.count for cell in self.cells)

    @cached_property
    def drawn(self) -> int:
        """Images that have to be drawn: N where each is one sample."""
        return images_drawn(self.cells, self.variants)

    @cached_property
    def identifier(self) -> str:
        """What names the dataset: 32 hexadecimal digits."""
        return dataset_identifier(self)

    @cached_property
    def samples_per_class(self) -> dict[str, int]:
        """Class → samples asked for, in the order of `classes`, without the empty ones."""
        counts = [0] * len(self.classes)
        for cell in self.cells:
            counts[cell.label] += cell.count
        return {name: n for name, n in zip(self.classes, counts, strict=True) if n}

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(cell.count for cell in self.cells)

    @cached_property
    def _drawn(self) -> tuple[int, ...]:
        return tuple(-(-count // self.variants) for count in self._counts)

    @cached_property
    def _phases(self) -> tuple[int, ...]:
        # A cell smaller than the number of shards would always round into the same ones;
        # golden-ratio phases spread the roundings of many such cells over all shards.
        return tuple(int(((k * _GOLDEN) % 1.0) * self.shards) for k in range(len(self.cells)))

    def _before(self, shard: int) -> list[int]:
        """Samples of each cell in the shards before this one. O(cells), exact."""
        return [
            min(n, self.variants * ((drawn * shard + phase) // self.shards))
            for n, drawn, phase in zip(self._counts, self._drawn, self._phases, strict=True)
        ]

    def start(self, shard: int) -> int:
        """Index of the first sample of a shard; `start(shards)` is N."""
        return sum(self._before(shard))

    def quotas(self, shard: int) -> NDArray[np.int64]:
        """int64 [cells]: samples of each cell in one shard. O(cells)."""
        return np.subtract(self._before(shard + 1), self._before(shard), dtype=np.int64)

    def shard(self, index: int) -> Shard:
        """The samples of one shard, classes interleaved.

        Raises IndexError when the plan has no such shard.
        """
        if not 0 <= index < self.shards:
            raise IndexError(f"shard {index} of {self.shards}")
        samples = self.quotas(index)
        quotas = -(-samples // self.variants)
        cells = np.repeat(np.arange(len(quotas), dtype=np.int32), quotas)
        # Image j of a cell's q sits at (j + 1/2) / q of the shard: every prefix is balanced.
        within = numbered(quotas)
        place = (within + 0.5) / np.repeat(np.maximum(quotas, 1), quotas)
        left = np.repeat(samples, quotas) - within * self.variants
        order = np.lexsort((cells, place))
        drawn, copies = cells[order], np.minimum(left, self.variants)[order]
        return Shard(index, self.start(index), np.repeat(drawn, copies), drawn, copies)

    def locate(self, sample: int) -> tuple[int, int]:
        """Shard of a sample index, and its position in that shard."""
        if not 0 <= sample < self.samples:
            raise IndexError(f"sample {sample} of {self.samples}")
        low, high = 0, self.shards
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.start(middle) <= sample else (low, middle)
        return low, sample - self.start(low)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form."""
        document = {
            **asdict(self),
            "image": self.image.model_dump(),
            "encoding": self.encoding.model_dump(),
            "transforms": [each.model_dump(mode="json") for each in self.transforms],
        }
        if self.sampling is not None:
            document["sampling"] = self.sampling.model_dump()
        document["checks"] = self.checks.to_json() if self.checks else None
        document["variants"] = self.variants if self.variants > 1 else None
        return {name: value for name, value in document.items() if value or name not in _LATER}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        """The plan that `to_json` wrote."""
        return cls(
            **{
                **document,
                "image": ImageShape(**document["image"]),
                "encoding": encoding_of(document.get("encoding")),
                "labelled_by": _classifier_of(document.get("labelled_by")),
                "transforms": transforms_of(document.get("transforms")),
                "merge": merge_of(document.get("merge")),
                "sampling": Sampling(**asked) if (asked := document.get("sampling")) else None,
                "checks": _checks_of(document.get("checks")),
                "classes": tuple(document["classes"]),
                "models": tuple(PlannedModel(**m) for m in document["models"]),
                "cells": tuple(Cell(**c) for c in document["cells"]),
            }
        )


def _classifier_of(document: Mapping[str, Any] | None) -> PlannedClassifier | None:
    return PlannedClassifier(**document) if document else None


def _checks_of(document: Mapping[str, Any] | None) -> PlannedChecks | None:
    return PlannedChecks.from_json(document) if document else None


def numbered(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [sum of lengths]: 0, 1, 2, … for each length, one after the other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Whole parts of `total` in proportion to `weights`, by largest remainder (Hamilton).

    Exact rationals decide, so equal inputs give equal parts on every machine; ties go to the
    earlier weight. Raises ValueError when no weight is positive.
    """
    if len(weights) == 1 and weights[0] > 0:
        return [total]
    shares = [Fraction(weight) for weight in weights]
    whole = sum(shares)
    if whole <= 0 or min(shares) < 0:
        raise ValueError("weights must not be negative, and one must be positive")
    exact = [total * share / whole for share in shares]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda k: (parts[k] - exact[k], k))
    for k in by_remainder[: total - sum(parts)]:
        parts[k] += 1
    return parts


def engine_batch(samples: int, most: int) -> int:
    """Size of the padded batches of a job: a power of two where that already holds all of it.

    Ten samples are not worth a forward pass of hundreds.
    """
    return min(most, max(_SMALLEST_BATCH, 1 << (samples - 1).bit_length()))


def images_drawn(cells: Sequence[Cell], variants: int) -> int:
    """How many images have to be drawn for the samples of these cells."""
    return sum(-(-cell.count // variants) for cell in cells)


def shard_count(
    drawn: int,
    image_bytes: int,
    most_samples: int,
    variants: int = 1,
    most_bytes: int = 64 << 20,
) -> int:
    """How many shards a job is cut into: bounded in samples and in raw pixel bytes, but none of
    them holds less than one image with its variants."""
    size = max(1, min(most_samples, most_bytes // image_bytes) // variants)
    return max(1, -(-drawn // size))
