"""Training images by class, and how far images are from the nearest one of theirs.

Distances are Euclidean, between images as levels 0 … 255 in the space of `PixelFeatures`. Their
squares are whole numbers, and computed as such: with levels about 0 and at most EXACT of them in
one product, every sum of `matmul` is a whole number that float32 holds (2**24 at most). So a
distance is the same on every processor, in whatever batch, and with any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.corpus.preprocessing import Preprocessing
from models.corpus.read import fitted
from models.corpus.source import Item, Source, Split
from models.evaluation.features import BATCH, PixelFeatures, Pixels

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MIDDLE: Final = 128
EXACT: Final = 1024
"""Products of two values of -128 … 127 whose sum float32 holds exactly."""
BLOCK_BYTES: Final = 32 << 20
"""Of training images that are compared at once, as float32."""

GroupOf = Callable[[int], int]
"""From the label of an image in its dataset to the group that it is compared in; -1: in none."""


class Originals:
    """Training images, each in a group: usually its class.

    levels: uint8 [M, D]. groups: int64 [M], none negative.
    """

    def __init__(self, levels: Pixels, groups: Labels) -> None:
        self._rows = {
            group: _centred(levels[groups == group]) for group in np.unique(groups).tolist()
        }
        self._squares = {group: _squares(rows) for group, rows in self._rows.items()}

    @property
    def bytes(self) -> int:
        """Memory that they take."""
        return sum(rows.nbytes for rows in self._rows.values())

    def distances(self, levels: Pixels, groups: Labels) -> Floats:
        """float64 [N]: from each image, uint8 [N, D], to the nearest one of its group.

        Infinite for a group that has none.
        """
        found = np.full(len(groups), np.inf)
        for group in np.unique(groups).tolist():
            places = np.flatnonzero(groups == group)
            if group in self._rows:
                found[places] = np.sqrt(self._squared(_centred(levels[places]), group))
        return found

    @torch.inference_mode()
    def _squared(self, queries: Tensor, group: int) -> Labels:
        """int64 [n]: the least squared distance of each query, int8 [n, D]."""
        rows, squares = self._rows[group], self._squares[group]  # int8 [m, D], int32 [m]
        own, points = _squares(queries), queries.float()
        step = max(1, BLOCK_BYTES // (4 * max(1, points.shape[1])))
        nearest = torch.full_like(own, torch.iinfo(torch.int32).max)
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            # |x|² + |y|² - 2xy, without |x|², which is the same for every y.
            left = squares[block] - 2 * _products(points, rows[block])  # int32 [n, step]
            nearest = torch.minimum(nearest, left.amin(1))
        return (nearest + own).long().numpy()


def _centred(levels: Pixels) -> Tensor:
    """int8: 128 less. To turn the first bit over is just that, and takes one copy."""
    return torch.from_numpy((levels ^ np.uint8(MIDDLE)).view(np.int8))


def _squares(rows: Tensor) -> Tensor:
    """int32 [m]; row by row, as float32 of all of them would be four times their memory."""
    parts = [part.int().square().sum(1, dtype=torch.int32) for part in torch.split(rows, BATCH)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int32)


def _products(points: Tensor, rows: Tensor) -> Tensor:
    """int32 [n, m] of float32 [n, D] and int8 [m, D]."""
    products = torch.zeros(len(points), len(rows), dtype=torch.int32)
    for start in range(0, points.shape[1], EXACT):
        some = slice(start, start + EXACT)
        products += (points[:, some] @ rows[:, some].float().T).int()
    return products


def read_levels(
    source: Source,
    split: Split,
    group_of: GroupOf,
    preprocessing: Preprocessing,
    space: PixelFeatures,
    keep_going: Callable[[], None],
) -> tuple[Pixels, Labels]:
    """Levels uint8 [N, D] and groups int64 [N] of the images of a split that are in a group.

    They are decoded one by one, so memory holds no more than the levels. `keep_going` is called
    now and then, and raises to stop. Raises DatasetError.
    """
    groups = np.array([group_of(label) for label in source.labels[split].tolist()], np.int64)
    wanted = np.flatnonzero(groups >= 0)
    levels = np.empty((len(wanted), space.shape.bytes), np.uint8)
    batch: list[Pixels] = []
    filled = 0
    for item in _in_group(source.items(split), group_of):
        batch.append(fitted(item, preprocessing))
        if len(batch) == space.batch or filled + len(batch) == len(levels):
            levels[filled : filled + len(batch)] = space.levels(np.stack(batch))
            filled += len(batch)
            batch.clear()
            keep_going()
    return levels, groups[wanted]


def _in_group(items: Iterator[Item], group_of: GroupOf) -> Iterator[Item]:
    return (item for item in items if group_of(item.label) >= 0)
