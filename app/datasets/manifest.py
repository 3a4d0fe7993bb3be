"""The manifest: of every sample, which model, seed and candidate made it, and its hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.datasets.names import directories
from app.db.tables import Job
from app.jobs.plan import Plan

Transaction = Callable[[], AbstractContextManager[Session]]


class SampleRow(NamedTuple):
    """What a shard run knows of one sample."""

    sample: int
    """Index in the dataset."""
    cell: int
    candidate: int
    offset: int
    length: int
    file_sha256: bytes
    pixel_sha256: bytes


FIELDS = {
    "index": "i8",
    "cell": "i4",
    "candidate": "i8",
    "offset": "i8",
    "length": "i4",
    "file_sha256": "V32",
    "pixel_sha256": "V32",
}
"""What the fields of a `SampleRow` are called where rows are kept, and their types in numpy."""


def as_records(rows: Sequence[SampleRow]) -> NDArray[np.void]:
    """Rows as an array [n] of records with the names and types of `FIELDS`."""
    return np.array(rows, list(FIELDS.items()))


class StoredRow(NamedTuple):
    """A row, and what its shard says of it."""

    row: SampleRow
    shard: int
    object_key: str
    """The shard file that holds the sample's bytes."""
    stored_at: datetime


class Rows(Protocol):
    """The rows of one job, wherever they are kept."""

    def read(
        self, session: Session, after: int, limit: int, cells: Sequence[int] | None = None
    ) -> list[StoredRow]:
        """At most `limit` rows with an index above `after`, of these cells, in order of index."""


@dataclass(frozen=True)
class Layout:
    """Names of the files of a dataset, from its plan alone."""

    plan: Plan

    @cached_property
    def directories(self) -> dict[str, str]:
        """Class → folder."""
        return directories(self.plan.classes)

    @cached_property
    def _folder_of_cell(self) -> tuple[str, ...]:
        return tuple(self.directories[self.plan.classes[cell.label]] for cell in self.plan.cells)

    def file_name(self, index: int, cell: int) -> str:
        """Path of a sample in an archive: `<class folder>/<index>.<png, webp or jpg>`."""
        return f"{self._folder_of_cell[cell]}/{index:08d}.{self.plan.encoding.extension}"


@dataclass(frozen=True)
class Manifest:
    """Rows of one job, put together from samples, shards and plan."""

    job: Job
    plan: Plan
    rows: Rows

    def page(
        self, session: Session, after: int, limit: int, class_name: str | None = None
    ) -> list[dict[str, Any]]:
        """At most `limit` rows with an index above `after`, in order of index."""
        cells = None if class_name is None else self._cells_of(class_name)
        return [self.row(stored) for stored in self.rows.read(session, after, limit, cells)]

    def sample(self, session: Session, index: int) -> StoredRow | None:
        """One row; None when it is not stored (yet)."""
        found = self.rows.read(session, index - 1, 1)
        return found[0] if found and found[0].row.sample == index else None

    def pages(
        self, transaction: Transaction, page_size: int = 2_000
    ) -> Iterator[list[dict[str, Any]]]:
        """Every row, page by page; memory does not grow with N."""
        for page in self.stored(transaction, page_size):
            yield [self.row(stored) for stored in page]

    def digests(
        self, transaction: Transaction, page_size: int = 10_000
    ) -> Iterator[list[tuple[int, int, bytes]]]:
        """Pages of (index, cell, SHA-256 of the file), in order of index."""
        for page in self.stored(transaction, page_size):
            yield [(stored.row.sample, stored.row.cell, stored.row.file_sha256) for stored in page]

    def stored(self, transaction: Transaction, page_size: int) -> Iterator[list[StoredRow]]:
        """Every row. Each page is read in a transaction of its own, so that a slow reader holds
        none."""
        after = -1
        while True:
            with transaction() as session:
                page = self.rows.read(session, after, page_size)
            if not page:
                return
            yield page
            after = page[-1].row.sample

    def row(self, stored: StoredRow) -> dict[str, Any]:
        """A full row, as JSON has it."""
        sample = stored.row
        cell = self.plan.cells[sample.cell]
        model = self.plan.models[cell.model]
        return {
            "index": sample.sample,
            "class": self.plan.classes[cell.label],
            "label": cell.label,
            "model": model.ref,
            "model_sha256": model.sha256,
            "seed": self.plan.seed,
            "shard": stored.shard,
            "candidate": sample.candidate,
            "file": self._layout.file_name(sample.sample, sample.cell),
            "bytes": sample.length,
            "file_sha256": sample.file_sha256.hex(),
            "pixel_sha256": sample.pixel_sha256.hex(),
            "width": self.plan.image.width,
            "height": self.plan.image.height,
            "channels": self.plan.image.channels,
            "created": stored.stored_at.isoformat(),
        }

    def _cells_of(self, class_name: str) -> list[int]:
        classes = self.plan.classes
        return [k for k, cell in enumerate(self.plan.cells) if classes[cell.label] == class_name]

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self.plan)
