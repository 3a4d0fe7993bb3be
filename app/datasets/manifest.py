"""The manifest: of every sample, which model, seed and candidate made it, and its hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.datasets.lines import Choices, Text, beside, decimals
from app.datasets.names import SYNTHETIC_PREFIX, directories
from app.datasets.variants import Variants
from app.db.tables import Job
from app.errors import DamagedShardError
from app.jobs.merge import REAL, SYNTHETIC, TRAIN
from app.jobs.plan import Plan, PlannedModel
from app.jobs.transforms import parameters_of

if TYPE_CHECKING:
    from app.datasets.merging.rows import RealRow, RealRows

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

RECORD = np.dtype(list(FIELDS.items()))
Records = NDArray[np.void]
"""Rows [n] as columns: an array of `RECORD`, or of some of its fields."""

_DIGITS = 8
"""Of the number in a file's name, at least."""


def as_records(rows: Sequence[SampleRow]) -> Records:
    """Rows as columns."""
    return np.array(list(rows), RECORD)


def as_rows(records: Records) -> list[SampleRow]:
    """The rows that columns are of."""
    return list(map(SampleRow._make, records.tolist()))


def records_of(columns: Mapping[str, Any], count: int) -> Records:
    """Columns of so many rows, by their names: arrays of the types of `FIELDS`."""
    records = np.empty(count, [(name, FIELDS[name]) for name in columns])
    for name, values in columns.items():
        records[name] = values
    return records


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

    def records(self, session: Session, first: int, end: int, names: Sequence[str]) -> Records:
        """These fields of the rows first … end - 1, in order of index, as far as they are there."""


@dataclass(frozen=True)
class Layout:
    """Names of the files of a dataset, from its plan alone."""

    plan: Plan

    @cached_property
    def directories(self) -> dict[str, str]:
        """Class → folder."""
        return directories(self.plan.classes)

    @cached_property
    def _start_of_cell(self) -> tuple[str, ...]:
        start = SYNTHETIC_PREFIX if self.plan.merge else ""
        return tuple(f"{self.folder_of(cell.label)}/{start}" for cell in self.plan.cells)

    def folder_of(self, label: int, split: str = TRAIN) -> str:
        """Folder of a class, in that of a split where there are several."""
        return f"{self.start_of(split)}{self.directories[self.plan.classes[label]]}"

    def start_of(self, split: str) -> str:
        """What the paths of a split begin with: `<split>/` where there are several."""
        several = self.plan.merge is not None and len(self.plan.merge.splits) > 1
        return f"{split}/" if several else ""

    def file_names(self, indices: Sequence[int], cells: Sequence[int]) -> list[str]:
        """`file_name` of many samples."""
        starts, ending = self._start_of_cell, f".{self.plan.encoding.extension}"
        return [
            f"{starts[cell]}{index:08d}{ending}" for index, cell in zip(indices, cells, strict=True)
        ]

    def file_name(self, index: int, cell: int) -> str:
        """Path of a sample in an archive: `<class folder>/<index>.<png, webp or jpg>`.

        Where real images lie beside it, `<split>/` may stand before it, and its name begins with
        `synthetic-`.
        """
        return f"{self._start_of_cell[cell]}{index:0{_DIGITS}d}.{self.plan.encoding.extension}"

    def paths(self, indices: NDArray[np.int64], cells: NDArray[np.int32]) -> Text:
        """`file_name` of many samples [n], as a text."""
        starts = self._starts_of_cells.of(cells)
        end = f".{self.plan.encoding.extension}".encode()
        return beside(len(indices), starts, decimals(indices, _DIGITS), end)

    @cached_property
    def _starts_of_cells(self) -> Choices:
        return Choices([start.encode() for start in self._start_of_cell])


@dataclass(frozen=True)
class Manifest:
    """Rows of one job, put together from samples, shards and plan."""

    job: Job
    plan: Plan
    rows: Rows
    real: RealRows | None = None
    """Those of the real images that it is merged with; they are there once its archives are."""

    def page(
        self, session: Session, after: int, limit: int, class_name: str | None = None
    ) -> list[dict[str, Any]]:
        """At most `limit` rows with an index above `after`, in order of index."""
        cells = None if class_name is None else self._cells_of(class_name)
        found = [self.row(stored) for stored in self.rows.read(session, after, limit, cells)]
        if self.real is not None and len(found) < limit:
            label = None if class_name is None else self.plan.classes.index(class_name)
            real = self.real.read(max(after, self.plan.samples - 1), limit - len(found), label)
            found += map(self.real_row, real)
        return found

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
        yield from self.real_pages(page_size)

    def real_pages(self, page_size: int) -> Iterator[list[dict[str, Any]]]:
        """Every row of a real image, page by page."""
        rows = map(self.real_row, self.real.all() if self.real is not None else ())
        while page := list(islice(rows, page_size)):
            yield page

    def records(self, transaction: Transaction, names: Sequence[str]) -> Iterator[Records]:
        """The index and these fields of every row, one shard after the other, in order of index.

        Each is read in a transaction of its own. Raises DamagedShardError where rows are missing.
        """
        for number in range(self.plan.shards):
            first, end = self.plan.start(number), self.plan.start(number + 1)
            with transaction() as session:
                found = self.rows.records(session, first, end, names)
            # No index exists twice, so as many as there should be are all of them.
            if len(found) != end - first:
                raise DamagedShardError(
                    f"Rows of the manifest are missing between {first} and {end - 1}. Check the "
                    "database, then submit the job again."
                )
            index = np.arange(first, end)
            yield records_of({"index": index} | {name: found[name] for name in names}, len(found))

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
            **self._merged,
            **self._transformed(model, stored),
        }

    def _transformed(self, model: PlannedModel, stored: StoredRow) -> dict[str, Any]:
        """What happened to an image after it was drawn, where something did."""
        if not self.plan.transforms:
            return {}
        first, variant = self.variants.of(stored.row.sample) if self.variants else (0, 0)
        found = parameters_of(
            self.plan.transforms,
            self.plan.image,
            seed=self.plan.seed,
            model=model.sha256,
            shard=stored.shard,
            candidate=stored.row.candidate,
            variant=variant,
        )
        which = {"variant_of": first, "variant": variant} if self.variants else {}
        return {**which, "transforms": found}

    def variant(self, row: SampleRow) -> int:
        """Which of those that became of one drawn image."""
        return self.variants.of(row.sample)[1] if self.variants else 0

    @cached_property
    def variants(self) -> Variants | None:
        """Where a drawn image became several samples."""
        return Variants(self.plan) if self.plan.variants > 1 else None

    @cached_property
    def _merged(self) -> dict[str, Any]:
        """What the row of a sample has beside, where real images are among the rows."""
        if self.plan.merge is None:
            return {}
        return {"origin": SYNTHETIC, "split": TRAIN, "dataset": None, "source": None}

    def real_row(self, row: RealRow) -> dict[str, Any]:
        """The full row of a real image: what only a generator could say is null."""
        assert self.plan.merge is not None
        return {
            "index": row.sample,
            "class": self.plan.classes[row.label],
            "label": row.label,
            **dict.fromkeys(("model", "model_sha256", "seed", "shard", "candidate")),
            "file": row.file,
            "bytes": row.length,
            "file_sha256": row.file_sha256.hex(),
            "pixel_sha256": row.pixel_sha256.hex(),
            "width": row.width,
            "height": row.height,
            "channels": row.channels,
            "created": None,
            "origin": REAL,
            "split": row.split,
            "dataset": self.plan.merge.name,
            "source": row.source,
            # A real image is of its own, so that all rows can be split by this column.
            **({"variant_of": row.sample, "variant": None} if self.variants else {}),
            **({"transforms": None} if self.plan.transforms else {}),
        }

    def _cells_of(self, class_name: str) -> list[int]:
        classes = self.plan.classes
        return [k for k, cell in enumerate(self.plan.cells) if classes[cell.label] == class_name]

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self.plan)
