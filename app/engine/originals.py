"""Training images that samples must not be copies of, in the memory of a worker.

They are compared on the processor: a batch takes it a fraction of what drawing it takes a network,
and distances are whole numbers under a root, so nothing about them depends on the device.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.checks.planned import CopyLimits, PlannedCopies
from app.errors import DatasetCorruptError
from app.jobs.plan import Plan
from models.corpus.preprocessing import Preprocessing
from models.corpus.read import open_source
from models.errors import DatasetError
from models.evaluation.features import PixelFeatures, Pixels
from models.evaluation.nearness import Floats, Labels, nearness
from models.evaluation.originals import GroupOf, Originals, read_levels

KeepGoing = Callable[[], None]
Upload = Callable[[], Path]

MOST_IDLE_BYTES = 1 << 30
"""Of training images that stay for the next shard."""
AT_ONCE = 256
"""Unseen images that are compared between two looks at the job."""


class Training:
    """The training images of one dataset, in the groups of a plan."""

    def __init__(self, plan: Plan, upload: Upload, keep_going: KeepGoing) -> None:
        self._space = PixelFeatures(plan.image)
        training, groups = self._read(plan, _copies(plan).training, upload, keep_going)
        self._originals = Originals(training, groups)
        self._lock = threading.Lock()
        self._unseen: tuple[Floats, Labels] | None = None

    @property
    def bytes(self) -> int:
        """Memory that they take."""
        return self._originals.bytes

    def distances(self, images: NDArray[np.uint8], groups: Labels) -> Floats:
        """From each image, uint8 [n, H, W, C], to the nearest training image of its group."""
        return self._originals.distances(self._space.levels(images), groups)

    def limits(self, plan: Plan, upload: Upload, keep_going: KeepGoing) -> CopyLimits:
        """How near is too near for the samples of a plan. Raises DatasetCorruptError."""
        with self._lock:
            if self._unseen is None:
                self._unseen = self._measured(plan, upload, keep_going)
        distances, groups = self._unseen
        copies = _copies(plan)
        wanted = [plan.samples_per_class.get(name, 0) for name in plan.classes]
        found = nearness(
            distances,
            groups,
            np.array(wanted if copies.labels else [1]),
            copies.percentile / 100,
        )
        return CopyLimits(found.threshold, tuple(found.usual.tolist()))

    def _measured(self, plan: Plan, upload: Upload, keep_going: KeepGoing) -> tuple[Floats, Labels]:
        levels, groups = self._read(plan, _copies(plan).holdout, upload, keep_going)
        distances = np.empty(len(levels))
        for start in range(0, len(levels), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            distances[some] = self._originals.distances(levels[some], groups[some])
            keep_going()
        return distances, groups

    def _read(
        self, plan: Plan, split: str, upload: Upload, keep_going: KeepGoing
    ) -> tuple[Pixels, Labels]:
        copies = _copies(plan)
        how = {"fit": copies.fit, "resample": copies.resample}
        shape = Preprocessing.model_validate(plan.image.model_dump() | how)
        with _translated(copies), open_source(upload()) as source:
            named = next(each for each in source.splits if each == split)
            return read_levels(source, named, _groups(copies), shape, self._space, keep_going)


class Shelf:
    """Training images stay for the next shard, as far as there is room; two shards share them."""

    def __init__(self, idle_bytes: int = MOST_IDLE_BYTES) -> None:
        self._idle_bytes = idle_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, Training] = OrderedDict()

    def load(self, plan: Plan, upload: Upload, keep_going: KeepGoing) -> Training:
        """Those of a plan, from memory or from the file. Raises DatasetCorruptError."""
        copies = _copies(plan)
        key = (
            copies.sha256, copies.training, copies.holdout, copies.fit, copies.resample,
            copies.labels, plan.image,
        )  # fmt: skip
        with self._lock:
            if key not in self._kept:
                self._kept[key] = Training(plan, upload, keep_going)
            self._kept.move_to_end(key)
            found = self._kept[key]
            while len(self._kept) > 1 and self._bytes > self._idle_bytes:
                self._kept.popitem(last=False)
            return found

    @property
    def _bytes(self) -> int:
        return sum(each.bytes for each in self._kept.values())


def _copies(plan: Plan) -> PlannedCopies:
    assert plan.checks is not None
    assert plan.checks.copies is not None
    return plan.checks.copies


def _groups(copies: PlannedCopies) -> GroupOf:
    """Classes by their place in the plan; all in one where the models are not asked by class."""
    if not copies.labels:
        return lambda label: 0
    places = {label: place for place, label in enumerate(copies.labels) if label >= 0}
    return lambda label: places.get(label, -1)


@contextmanager
def _translated(copies: PlannedCopies) -> Iterator[None]:
    try:
        yield
    except DatasetError as error:
        raise DatasetCorruptError(
            f"The stored file of {copies.dataset} can't be read any more: {error} Restore it from "
            "a backup, or upload the dataset again; then submit the job again."
        ) from error
