"""The rows of a job in Parquet files, one beside each shard, each named by its shard's row.

A file holds the rows of its shard in order of index, in row groups of which only those that a page
needs are decoded. It is read whole and compared with its SHA-256 first: a few MB at most, as a
shard has a most number of samples, however large the job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.datasets.manifest import FIELDS, Records, SampleRow, StoredRow, records_of
from app.db.tables import Shard
from app.errors import DamagedRowsError, MissingObjectError
from app.jobs.plan import Plan
from app.storage import LocalStorage

if TYPE_CHECKING:
    import pyarrow

ROWS_A_GROUP = 2_000
_SHARDS_A_PAGE = 100


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A file of rows that is stored."""

    object_key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """The rows of one job, by its number and plan."""

    job_number: int
    plan: Plan
    storage: LocalStorage

    def read(
        self, session: Session, after: int, limit: int, cells: Sequence[int] | None = None
    ) -> list[StoredRow]:
        """At most `limit` rows with an index above `after`, of these cells, in order of index.

        Raises MissingObjectError and DamagedRowsError when a file is not what was written.
        """
        found: list[StoredRow] = []
        if after + 1 >= self.plan.samples:
            return found
        first, _ = self.plan.locate(after + 1)
        for shard in self._stored_shards(session, first):
            if cells is None or self._holds(shard.index, cells):
                for row in self._rows_of(session, shard, after):
                    if cells is None or row.cell in cells:
                        found.append(StoredRow(row, shard.index, shard.object_key, shard.done_at))
                    if len(found) == limit:
                        return found
        return found

    def records(self, session: Session, first: int, end: int, names: Sequence[str]) -> Records:
        """These fields of the rows first … end - 1, in order of index, as far as they are there.

        Raises as `read`.
        """
        found = [records_of({name: np.empty(0, FIELDS[name]) for name in names}, 0)]
        for shard in (
            self._stored_shards(session, self.plan.locate(first)[0]) if first < end else ()
        ):
            if self.plan.start(shard.index) >= end:
                break
            for content in self._content_of(session, shard):
                rows = _columns(content, ["index", *names])
                chosen = (rows["index"] >= first) & (rows["index"] < end)
                found.append(rows[chosen][list(names)])
        return np.concatenate(found)

    def _stored_shards(self, session: Session, first: int) -> Iterator[_StoredShard]:
        while True:
            page: Sequence[Any] = session.execute(
                self._select().where(Shard.index >= first).limit(_SHARDS_A_PAGE)
            ).all()
            yield from (_StoredShard(*row) for row in page)
            if len(page) < _SHARDS_A_PAGE:
                return
            first = page[-1].index + 1

    def _select(self) -> sa.Select[int, str | None, datetime | None, str | None, str | None]:
        return (
            sa.select(
                Shard.index, Shard.object_key, Shard.done_at, Shard.rows_key, Shard.rows_sha256
            )
            .where(Shard.job_number == self.job_number, Shard.done_at.is_not(None))
            .order_by(Shard.index)
        )

    def _holds(self, shard: int, cells: Sequence[int]) -> bool:
        quotas = self.plan.quotas(shard)
        return any(quotas[cell] for cell in cells)

    def _rows_of(self, session: Session, shard: _StoredShard, after: int) -> Iterator[SampleRow]:
        for content in self._content_of(session, shard):
            yield from _decoded(content, after)

    def _content_of(self, session: Session, shard: _StoredShard) -> Iterator[bytes]:
        """The file of a shard's rows; none if it was swept."""
        try:
            content = self.storage.read(shard.rows_key)
        except MissingObjectError:
            if session.execute(self._select().where(Shard.index == shard.index)).first():
                raise
            return  # swept in between: the row went first
        if hashlib.sha256(content).hexdigest() != shard.rows_sha256:
            raise DamagedRowsError(
                f"The manifest rows of shard {shard.index} have changed on the disk since they "
                "were written. Restore the storage from a backup, or submit the job again."
            )
        yield content


@dataclass(frozen=True, slots=True)
class _StoredShard:
    """The columns of `_select`, of which none is null where rows are in files."""

    index: int
    object_key: str
    done_at: datetime
    rows_key: str
    rows_sha256: str


def store_rows(storage: LocalStorage, object_key: str, rows: Records) -> RowsFile:
    """Store the rows of a shard, which are in order of index."""
    # Imported when it is needed: it is large, and the API starts without it.
    from pyarrow import BufferOutputStream, parquet

    sink = BufferOutputStream()
    hashes = [name for name, kind in FIELDS.items() if kind == "V32"]
    numbers = [name for name in FIELDS if name not in hashes]
    parquet.write_table(
        _table(rows),
        sink,
        row_group_size=ROWS_A_GROUP,
        compression=dict.fromkeys(numbers, "ZSTD") | dict.fromkeys(hashes, "NONE"),
        use_dictionary=False,
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        write_statistics=["index"],
    )
    with storage.create(object_key) as writer:
        writer.write(memoryview(sink.getvalue()))
    return RowsFile(object_key, writer.bytes, writer.sha256)


def _table(rows: Records) -> pyarrow.Table:
    import pyarrow as pa

    columns = {}
    for name, kind in FIELDS.items():
        type_ = pa.binary(32) if kind == "V32" else pa.from_numpy_dtype(np.dtype(kind))
        values = pa.py_buffer(rows[name].tobytes())
        columns[name] = pa.Array.from_buffers(type_, len(rows), [None, values])
    return pa.table(columns)


def _decoded(content: bytes, after: int) -> Iterator[SampleRow]:
    """Rows with an index above `after`; groups that end before it are left alone."""
    from pyarrow import BufferReader, parquet

    with parquet.ParquetFile(BufferReader(content)) as file:
        for group in range(file.num_row_groups):
            if file.metadata.row_group(group).column(0).statistics.max <= after:
                continue
            table = file.read_row_group(group, use_threads=False)
            columns = (table.column(name).to_pylist() for name in FIELDS)
            for values in zip(*columns, strict=True):
                if values[0] > after:
                    yield SampleRow(*values)


def _columns(content: bytes, names: Sequence[str]) -> Records:
    """These fields of every row."""
    from pyarrow import BufferReader, parquet

    wanted = list(dict.fromkeys(names))
    table = parquet.read_table(BufferReader(content), columns=wanted, use_threads=False)
    return records_of(
        {name: _array(table.column(name), FIELDS[name]) for name in wanted}, len(table)
    )


def _array(column: pyarrow.ChunkedArray, kind: str) -> NDArray[Any]:
    """Values without nulls, as numpy has them."""
    values = column.combine_chunks()
    if np.dtype(kind).kind == "V":
        return np.frombuffer(values.buffers()[1], kind)[values.offset : values.offset + len(values)]
    return np.asarray(values)
