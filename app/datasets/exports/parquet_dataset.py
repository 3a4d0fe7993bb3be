"""Parquet files as the Hugging Face Hub keeps image datasets, with a dataset card.

    data/train-00000-of-00003.parquet …    samples in order of index
    README.md                              the card: how to load it, what it is, where it comes from

`load_dataset(FOLDER)` of the library `datasets` decodes images and labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.datasets.exports.card import dataset_card
from app.datasets.exports.container import Container
from app.datasets.exports.content import Stored, most_bytes, piece_count, pieces
from app.datasets.merging.images import RealImages
from app.datasets.merging.tables import write_tables
from app.datasets.parquet import columns_of, schema, table, writing
from app.jobs.merge import REAL, SYNTHETIC, TRAIN, Split
from app.jobs.plan import Plan

ROWS_A_GROUP = 1_000
"""Who reads one row reads the images of its group."""
_GROUP_BYTES = 16 << 20
"""Of large images there are fewer in a group."""


class DataFile(NamedTuple):
    """A file of the dataset: its images are of one split, and of one origin."""

    name: str
    split: Split
    origin: str


def data_files(plan: Plan, samples_a_file: int) -> list[DataFile]:
    """The data files of a plan, split by split; those of samples come first."""
    found: list[DataFile] = []
    for split in plan.merge.splits if plan.merge is not None else (TRAIN,):
        drawn = piece_count(plan.samples, samples_a_file) if split == TRAIN else 0
        real = sum(plan.merge.real(split).values()) if plan.merge is not None else 0
        count = drawn + piece_count(real, samples_a_file)
        found += [
            DataFile(
                f"data/{split}-{number:05d}-of-{count:05d}.parquet",
                split,
                SYNTHETIC if number < drawn else REAL,
            )
            for number in range(count)
        ]
    return found


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

    files = data_files(plan, samples_a_file)
    names = [file.name for file in files if file.origin == SYNTHETIC]
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
        beside = [file.name for file in files if (file.split, file.origin) == (split, REAL)]
        write_tables(container, real, split, samples_a_file, beside)
    container.add("README.md", dataset_card(plan, licences, columns_of(plan)).encode())
