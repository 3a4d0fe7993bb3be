"""The manifest: of every sample, which model, seed and candidate made it, and its hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.datasets.names import directories
from app.db.tables import Job, Sample, Shard
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

    def page(
        self, session: Session, after: int, limit: int, class_name: str | None = None
    ) -> list[dict[str, Any]]:
        """At most `limit` rows with an index above `after`, in order of index."""
        query = (
            sa.select(Sample, Shard.done_at)
            .join(Shard, (Shard.job_number == Sample.job_number) & (Shard.index == Sample.shard))
            .where(Sample.job_number == self.job.number, Sample.index > after)
            .order_by(Sample.index)
            .limit(limit)
        )
        if class_name is not None:
            query = query.where(Sample.cell.in_(self._cells_of(class_name)))
        return [self._row(sample, done) for sample, done in session.execute(query)]

    def pages(
        self, transaction: Transaction, page_size: int = 2_000
    ) -> Iterator[list[dict[str, Any]]]:
        """Every row, page by page; memory does not grow with N.

        Each page is read in a transaction of its own, so that a slow reader holds none.
        """
        after = -1
        while True:
            with transaction() as session:
                page = self.page(session, after, page_size)
            if not page:
                return
            yield page
            after = page[-1]["index"]

    def _cells_of(self, class_name: str) -> list[int]:
        classes = self.plan.classes
        return [k for k, cell in enumerate(self.plan.cells) if classes[cell.label] == class_name]

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self.plan)

    def _row(self, sample: Sample, done: Any) -> dict[str, Any]:
        cell = self.plan.cells[sample.cell]
        model = self.plan.models[cell.model]
        return {
            "index": sample.index,
            "class": self.plan.classes[cell.label],
            "label": cell.label,
            "model": model.ref,
            "model_sha256": model.sha256,
            "seed": self.plan.seed,
            "shard": sample.shard,
            "candidate": sample.candidate,
            "file": self._layout.file_name(sample.index, sample.cell),
            "bytes": sample.length,
            "file_sha256": sample.file_sha256.hex(),
            "pixel_sha256": sample.pixel_sha256.hex(),
            "width": self.plan.image.width,
            "height": self.plan.image.height,
            "channels": self.plan.image.channels,
            "created": done.isoformat() if done else None,
        }


def digests(
    session: Session, job_number: int, page_size: int = 10_000
) -> Iterator[Sequence[tuple[int, int, bytes]]]:
    """Pages of (index, cell, SHA-256 of the file) of a job, in order of index."""
    after = -1
    while True:
        page = session.execute(
            sa.select(Sample.index, Sample.cell, Sample.file_sha256)
            .where(Sample.job_number == job_number, Sample.index > after)
            .order_by(Sample.index)
            .limit(page_size)
        ).all()
        if not page:
            return
        rows = [(index, cell, sha256) for index, cell, sha256 in page]
        yield rows
        after = rows[-1][0]
