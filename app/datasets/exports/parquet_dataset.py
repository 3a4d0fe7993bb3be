"""Parquet files as the Hugging Face Hub keeps image datasets, with a dataset card.

    data/train-00000-of-00003.parquet …    samples in order of index
    README.md                              the card: how to load it, what it is, where it comes from

`load_dataset(FOLDER)` of the library `datasets` decodes images and labels.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.datasets.exports.card import dataset_card
from app.datasets.exports.container import Container
from app.datasets.exports.content import Stored, most_bytes, piece_count, pieces
from app.datasets.merging.images import RealImages
from app.datasets.merging.tables import write_tables
from app.datasets.parquet import columns_of, schema, table, writing
from app.jobs.merge import TRAIN
from app.jobs.plan import Plan

ROWS_A_GROUP = 1_000
"""Who reads one row reads the images of its group."""
_GROUP_BYTES = 16 << 20
"""Of large images there are fewer in a group."""


def file_names(samples: int, samples_a_file: int, added: int = 0) -> list[str]:
    """The data files of so many samples, in order. added: files behind them."""
    count = piece_count(samples, samples_a_file) + added
    return [f"data/train-{number:05d}-of-{count:05d}.parquet" for number in range(count)]


def write_parquet(
    container: Container,
    plan: Plan,
    licences: Iterable[str],
    samples: Iterable[Stored],
    samples_a_file: int,
    real: RealImages | None = None,
) -> None:
    """Add the data files and the card. Those of real images stand behind those of samples."""
    # Imported when it is needed: it is large, and a worker that never exports starts without it.
    from pyarrow import parquet

    added = piece_count(real.count(TRAIN), samples_a_file) if real is not None else 0
    names = file_names(plan.samples, samples_a_file, added)
    columns = schema(plan)
    group = max(1, min(ROWS_A_GROUP, _GROUP_BYTES // plan.image.bytes))
    for number, parts in pieces(samples, samples_a_file):
        with (
            container.part(names[number], most_bytes(plan, samples_a_file)) as spool,
            parquet.ParquetWriter(spool, columns, **writing()) as writer,
        ):
            for part in parts:
                writer.write_table(table(plan, part.rows, part.files, columns), group)
    for split in real.merge.splits if real is not None else ():
        assert real is not None
        files = piece_count(real.count(split), samples_a_file)
        numbers = (len(names) - added, len(names)) if split == TRAIN else (0, files)
        write_tables(container, real, split, samples_a_file, numbers)
    container.add("README.md", dataset_card(plan, licences, columns_of(plan)).encode())
