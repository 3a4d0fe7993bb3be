"""Rows of the manifest of real images: one Parquet file a job, written before its archives.

What an archive says of a real image, it says from here. The file is read row group by row group, so
memory does not grow with the dataset.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from app.datasets.parquet_rows import RowsFile
from app.errors import DamagedRowsError
from app.storage import HashingWriter, LocalStorage

if TYPE_CHECKING:
    from io import BufferedReader

    import pyarrow
    from pyarrow import parquet

ROWS_A_GROUP = 10_000


class RealRow(NamedTuple):
    """A real image of a merged dataset."""

    sample: int
    """Index in the merged dataset: real images come behind the samples."""
    split: str
    label: int
    file: str
    """Its path in an archive of class folders."""
    source: str
    """Its path in what was uploaded, or one made of its number."""
    length: int
    height: int
    width: int
    channels: int
    file_sha256: bytes
    pixel_sha256: bytes
    """Of the pixels that its file decodes to, upright, with the channels that it has."""


_TYPES = {
    "sample": "int64", "split": "string", "label": "int32", "file": "string", "source": "string",
    "length": "int64", "height": "int32", "width": "int32", "channels": "int32",
    "file_sha256": "binary", "pixel_sha256": "binary",
}  # fmt: skip


class RowsWriter:
    """Takes rows one by one, in order of index. Call `close` at the end."""

    def __init__(self, sink: HashingWriter) -> None:
        # Imported when it is needed: it is large, and a worker that never merges starts without it.
        from pyarrow import parquet

        self._held: list[RealRow] = []
        self._writer = parquet.ParquetWriter(
            _Sink(sink), _schema(), compression="ZSTD", use_dictionary=["split", "label"]
        )

    def add(self, row: RealRow) -> None:
        """One more row."""
        self._held.append(row)
        if len(self._held) == ROWS_A_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        if self._held:
            columns = [*zip(*self._held, strict=True)]
            self._writer.write_table(pyarrow.table(list(map(list, columns)), schema=_schema()))
            self._held = []


@dataclass(frozen=True, slots=True)
class RealRows:
    """The rows of one job, in a stored file."""

    storage: LocalStorage
    file: RowsFile
    first: int
    """Index of the first real image: the number of samples."""

    def read(self, after: int, limit: int, label: int | None = None) -> list[RealRow]:
        """At most so many rows with an index above `after`, in order of index."""
        found: list[RealRow] = []
        start = max(0, after + 1 - self.first)
        with self._opened() as file:
            for group in range(start // ROWS_A_GROUP, file.num_row_groups):
                for row in _rows(file.read_row_group(group, use_threads=False)):
                    if row.sample > after and label in (None, row.label):
                        found.append(row)
                    if len(found) >= limit:
                        return found
        return found

    def all(self, split: str | None = None) -> Iterator[RealRow]:
        """Every row, of a split if one is named."""
        with self._opened() as file:
            for group in range(file.num_row_groups):
                for row in _rows(file.read_row_group(group, use_threads=False)):
                    if split in (None, row.split):
                        yield row

    @contextmanager
    def _opened(self) -> Iterator[parquet.ParquetFile]:
        from pyarrow import parquet

        with self.storage.open(self.file.object_key) as file:
            found = hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()
            if found != self.file.sha256:
                raise DamagedRowsError(
                    "The list of the job's real images is not what was written. Restore the "
                    "storage from a backup, or submit the job again."
                )
            file.seek(0)
            yield parquet.ParquetFile(file, pre_buffer=False)


class _Sink(io.RawIOBase):
    """What pyarrow takes for a file."""

    def __init__(self, sink: HashingWriter) -> None:
        super().__init__()
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._sink.write(bytes(piece))
        return len(piece)


def _schema() -> pyarrow.Schema:
    import pyarrow

    columns: list[tuple[str, Any]] = [*_TYPES.items()]
    return pyarrow.schema(columns)


def _rows(table: pyarrow.Table) -> Iterator[RealRow]:
    yield from map(RealRow._make, zip(*(c.to_pylist() for c in table.columns), strict=True))
