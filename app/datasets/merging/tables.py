"""Real images in the Parquet files of a dataset: of one split each, none with samples in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.datasets.exports.container import UNKNOWN_BYTES, Container
from app.datasets.merging.images import RealChunk, RealImages
from app.datasets.parquet import schema, writing
from app.jobs.merge import REAL
from models.corpus.source import Split

if TYPE_CHECKING:
    import pyarrow


def write_tables(
    container: Container, real: RealImages, split: Split, images_a_file: int, names: Sequence[str]
) -> None:
    """Add the data files of a split, which have these names."""
    from pyarrow import parquet

    columns = schema(real.plan)
    for name, piece in zip(names, real.pieces(split, images_a_file), strict=True):
        with (
            container.part(name, UNKNOWN_BYTES) as spool,
            parquet.ParquetWriter(spool, columns, **writing()) as writer,
        ):
            for chunk in piece:
                writer.write_table(_table(real, chunk, columns))


def _table(real: RealImages, chunk: RealChunk, into: pyarrow.Schema) -> pyarrow.Table:
    """A row each; what a generator would say of an image is null."""
    import pyarrow

    rows = chunk.rows
    image = pyarrow.StructArray.from_arrays(
        [
            pyarrow.array(chunk.files, pyarrow.binary()),
            pyarrow.array([row.file for row in rows], pyarrow.string()),
        ],
        ["bytes", "path"],
    )
    known: dict[str, Any] = {
        "image": image,
        "label": [row.label for row in rows],
        "index": [row.sample for row in rows],
        "class": [real.plan.classes[row.label] for row in rows],
        "pixel_sha256": [row.pixel_sha256.hex() for row in rows],
        "origin": [REAL] * len(rows),
        "split": [row.split for row in rows],
        "variant_of": [row.sample for row in rows],
    }
    empty = [None] * len(rows)
    columns = [pyarrow.array(known.get(field.name, empty), field.type) for field in into]
    return pyarrow.Table.from_arrays(columns, schema=into)
