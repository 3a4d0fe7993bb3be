"""The manifest as one Parquet file that is sent while it is written.

Columns and values are those of the JSON rows, but for `created`, which is a timestamp, and
`transforms`, which is JSON as text. Memory holds one page of rows and, until the end, what the
footer says of each page: about 2 KB.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from app.datasets.manifest import Manifest, StoredRow
from app.datasets.variants import TYPES as VARIANTS

if TYPE_CHECKING:
    import pyarrow

PAGE_ROWS = 10_000
"""Rows of a row group."""

_TYPES = {
    "index": "int64",
    "class": "string",
    "label": "int32",
    "model": "string",
    "model_sha256": "string",
    "seed": "int64",
    "shard": "int32",
    "candidate": "int64",
    "file": "string",
    "bytes": "int32",
    "file_sha256": "string",
    "pixel_sha256": "string",
    "width": "int32",
    "height": "int32",
    "channels": "int32",
}
_MERGED = dict.fromkeys(("origin", "split", "dataset", "source"), "string")
"""Columns of a dataset that is merged with a real one."""
_FEW_VALUES = ["class", "model", "model_sha256"]
"""Columns that are kept as a dictionary and places in it."""


def parquet_pieces(manifest: Manifest, pages: Iterable[list[StoredRow]]) -> Iterator[bytes]:
    """The file in pieces, one a page and the footer."""
    # Imported when it is needed: it is large, and the API starts without it.
    from pyarrow import Table, parquet

    schema, sink = _schema(manifest), _Sink()
    with parquet.ParquetWriter(
        sink, schema, compression="ZSTD", use_dictionary=_FEW_VALUES
    ) as writer:
        for page in pages:
            rows = [_flat(manifest.row(stored) | {"created": stored.stored_at}) for stored in page]
            writer.write_table(Table.from_pylist(rows, schema))
            yield sink.taken()
        for rows in manifest.real_pages(PAGE_ROWS):
            writer.write_table(Table.from_pylist(rows, schema))
            yield sink.taken()
    yield sink.taken()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """What is a list in JSON is text here."""
    if row.get("transforms") is not None:
        row["transforms"] = json.dumps(row["transforms"])
    return row


def _schema(manifest: Manifest) -> pyarrow.Schema:
    import pyarrow

    merged = _MERGED if manifest.plan.merge else {}
    transforms = {"transforms": "string"} if manifest.plan.transforms else {}
    variants = VARIANTS if manifest.variants else {}
    columns: list[tuple[str, Any]] = [*_TYPES.items()]
    created = ("created", pyarrow.timestamp("us", "UTC"))
    return pyarrow.schema(
        [*columns, created, *merged.items(), *variants.items(), *transforms.items()]
    )


class _Sink(io.RawIOBase):
    """A file that is handed on as it grows."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        self._length += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        """What was written since it was last asked."""
        piece = b"".join(self._pieces)
        self._pieces.clear()
        return piece
