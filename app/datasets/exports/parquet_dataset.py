"""Parquet files as the Hugging Face Hub keeps image datasets, with a dataset card.

    data/train-00000-of-00003.parquet …    samples in order of index
    README.md                              the card: how to load it, what it is, where it comes from

`load_dataset(FOLDER)` of the library `datasets` decodes images and labels.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.datasets.exports.card import dataset_card
from app.datasets.exports.container import Container
from app.datasets.exports.content import Stored, piece_count, pieces
from app.datasets.parquet import COLUMNS, schema, table, writing
from app.jobs.plan import Plan

ROWS_A_GROUP = 1_000
"""Who reads one row reads the images of its group."""
_GROUP_BYTES = 16 << 20
"""Of large images there are fewer in a group."""


def file_names(samples: int, samples_a_file: int) -> list[str]:
    """The data files of so many samples, in order."""
    count = piece_count(samples, samples_a_file)
    return [f"data/train-{number:05d}-of-{count:05d}.parquet" for number in range(count)]


def write_parquet(
    container: Container,
    plan: Plan,
    licences: Iterable[str],
    samples: Iterable[Stored],
    samples_a_file: int,
) -> None:
    """Add the data files and the card."""
    # Imported when it is needed: it is large, and a worker that never exports starts without it.
    from pyarrow import parquet

    names = file_names(plan.samples, samples_a_file)
    columns = schema(plan)
    group = max(1, min(ROWS_A_GROUP, _GROUP_BYTES // plan.image.bytes))
    for number, parts in pieces(samples, samples_a_file):
        with (
            container.part(names[number]) as spool,
            parquet.ParquetWriter(spool, columns, **writing()) as writer,
        ):
            for part in parts:
                writer.write_table(table(plan, part.rows, part.files, columns), group)
    container.add("README.md", dataset_card(plan, licences, COLUMNS).encode())
