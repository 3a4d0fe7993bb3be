"""The first samples of a job, decoded: what its report looks at.

Shards are stratified, so any prefix of a dataset holds of each class its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from app.datasets.decoding import decode
from app.datasets.manifest import Manifest, StoredRow, Transaction
from app.jobs.plan import Plan
from app.storage import LocalStorage

MOST_SAMPLES = 1_000
MOST_BYTES = 64 << 20
"""Of pixels: of large images fewer are looked at."""
FEWEST_SAMPLES = 32


@dataclass(frozen=True)
class LookedAt:
    """pixels: uint8 [n, H, W, C]; labels: int64 [n], positions in the classes of the plan;
    first_variants: bool [n], one of each image that was drawn."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    first_variants: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)

    def by_class(self, plan: Plan, most: int) -> dict[str, Sequence[NDArray[np.uint8]]]:
        """Class → its first images, in the order of the classes."""
        return {
            name: list(self.pixels[self.labels == label][:most])
            for label, name in enumerate(plan.classes)
            if name in plan.samples_per_class
        }


def look_at(transaction: Transaction, storage: LocalStorage, manifest: Manifest) -> LookedAt:
    """The first samples of a dataset whose shards are stored."""
    plan = manifest.plan
    limit = max(FEWEST_SAMPLES, min(MOST_SAMPLES, MOST_BYTES // plan.image.bytes))
    with transaction() as session:
        rows = manifest.rows.read(session, -1, limit)
    images: list[NDArray[np.uint8]] = []
    for key, of_shard in groupby(rows, key=lambda stored: stored.object_key):
        images += _decoded(storage, plan, key, list(of_shard))
    labels = [plan.cells[stored.row.cell].label for stored in rows]
    first = [manifest.variant(stored.row) == 0 for stored in rows]
    return LookedAt(np.stack(images), np.array(labels, np.int64), np.array(first, np.bool_))


def _decoded(
    storage: LocalStorage, plan: Plan, key: str, rows: Sequence[StoredRow]
) -> list[NDArray[np.uint8]]:
    found = []
    with storage.open(key) as file:
        for stored in rows:
            file.seek(stored.row.offset)
            found.append(decode(file.read(stored.row.length), plan.encoding, plan.image))
    return found
