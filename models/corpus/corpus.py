"""Labelled images of one size, in memory: what is trained on and compared with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.errors import DatasetError
from models.spec import ImageShape


@dataclass(frozen=True)
class Corpus:
    """images uint8 [N, H, W, C], labels int64 [N] below len(classes).

    groups: names of the groups that the images belong to beside their class, such as a hospital or
    a sex; empty where the data has none. group: int64 [N], the place of each image's group in
    `groups`, -1 where it is not known; None where there are no groups.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    groups: tuple[str, ...] = ()
    group: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DatasetError(f"images must be uint8 [N, H, W, C], not {self.images.shape}")
        if len(self.images) != len(self.labels) or not len(self.labels):
            raise DatasetError(f"{len(self.images)} images but {len(self.labels)} labels")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise DatasetError(f"labels must lie in 0..{len(self.classes) - 1}")
        if (self.group is None) == bool(self.groups):
            raise DatasetError("groups are named exactly when each image has one")
        if self.group is not None:
            self._check_group(self.group)

    def _check_group(self, group: npt.NDArray[np.int64]) -> None:
        if len(group) != len(self.labels):
            raise DatasetError(f"{len(self.labels)} images but groups of {len(group)}")
        if group.min() < -1 or group.max() >= len(self.groups):
            raise DatasetError(f"groups must lie in -1..{len(self.groups) - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image(self) -> ImageShape:
        """Size of every image."""
        _, height, width, channels = self.images.shape
        return ImageShape.model_validate({"height": height, "width": width, "channels": channels})

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64 [len(classes)]: images of each class."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of pixels, labels, groups and names: equal content, equal digest.

        Neither the format that it was read from nor the names of its files change it; the order of
        the images does.
        """
        names = [list(self.images.shape), self.classes, self.groups]
        digest = hashlib.sha256(json.dumps(names).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        if self.group is not None:
            digest.update(self.group.astype("<i8").tobytes())
        digest.update(np.ascontiguousarray(self.images).data)
        return digest.hexdigest()

    def take(self, chosen: slice | npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Corpus:
        """Some of the images, as NumPy indexes rows; the classes stay."""
        group = None if self.group is None else self.group[chosen]
        return Corpus(self.images[chosen], self.labels[chosen], self.classes, self.groups, group)

    def split(self, last: int) -> tuple[Corpus, Corpus]:
        """All but the last so many images, and those."""
        if not 0 < last < len(self):
            raise DatasetError(f"cannot keep {last} of {len(self)} images out")
        cut = len(self) - last
        return self.take(slice(cut)), self.take(slice(cut, None))
