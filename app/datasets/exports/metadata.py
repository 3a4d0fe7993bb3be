"""What Hugging Face `datasets` reads beside class folders: `metadata.jsonl` and a dataset card.

Where there is such a file, labels are not taken from the folders, so each line has one:
https://huggingface.co/docs/datasets/image_dataset. Readers of class folders pass both files by.

A merged dataset with several splits has one in the folder of each. What only a generator could say
of a real image is empty text or -1 there, not null: all files must have the same types, and a split
of real images alone would have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from app.datasets.exports.card import dataset_card
from app.datasets.manifest import Layout, StoredRow
from app.datasets.members import METADATA
from app.datasets.merging.rows import RealRow, RealRows
from app.datasets.parquet import columns_of
from app.datasets.variants import Variants
from app.jobs.merge import REAL, SYNTHETIC, TRAIN, Split
from app.jobs.plan import Plan

CARD = "README.md"
_LINES = 1_000
"""Written at a time."""

Pages = Iterable[Sequence[StoredRow]]
"""Rows in order of index."""


def beside(
    plan: Plan, licences: Sequence[str], pages: Pages, real: RealRows | None = None
) -> dict[str, Iterable[bytes]]:
    """Name → content of each file, in pieces. real: of the dataset that the plan is merged with."""
    layout = Layout(plan)
    splits: Sequence[Split] = (TRAIN,) if plan.merge is None else plan.merge.splits
    files: dict[str, Iterable[bytes]] = {}
    for split in splits:
        drawn = metadata_lines(plan, pages) if split == TRAIN else iter(())
        given = _real_lines(plan, real, split) if real is not None else iter(())
        files[f"{layout.start_of(split)}{METADATA}"] = chain(drawn, given)
    card = dataset_card(plan, licences, columns_of(plan), in_tables=False)
    return files | {CARD: [card.encode()]}


def metadata_lines(plan: Plan, pages: Pages) -> Iterator[bytes]:
    """A line of JSON for each sample; every line has the same members with the same types."""
    layout = Layout(plan)
    start = len(layout.start_of(TRAIN))
    variants = Variants(plan)
    shared = [_shared(plan, cell) for cell in range(len(plan.cells))]
    for page in pages:
        lines: list[str] = []
        for row, *_ in page:
            name = json.dumps(layout.file_name(row.sample, row.cell)[start:], ensure_ascii=False)
            more = _which(*variants.of(row.sample)) if plan.variants > 1 else ""
            lines.append(
                f'{{"file_name": {name}, {shared[row.cell]}, "index": {row.sample}, '
                f'"candidate": {row.candidate}, '
                f'"pixel_sha256": "{row.pixel_sha256.hex()}"{more}}}\n'
            )
        yield "".join(lines).encode()


def _which(variant_of: int, variant: int) -> str:
    return f', "variant_of": {variant_of}, "variant": {variant}'


def _shared(plan: Plan, cell: int) -> str:
    """Members that all samples of a cell have."""
    planned = plan.cells[cell]
    facts: dict[str, Any] = {
        "label": planned.label,
        "class": plan.classes[planned.label],
        "model": plan.models[planned.model].ref,
        "seed": plan.seed,
    }
    if plan.merge is not None:
        facts |= {"origin": SYNTHETIC, "split": TRAIN}
    return json.dumps(facts, ensure_ascii=False)[1:-1]


def _real_lines(plan: Plan, rows: RealRows, split: Split) -> Iterator[bytes]:
    start = len(Layout(plan).start_of(split))
    lines = (f"{_real_line(plan, row, start)}\n" for row in rows.all(split))
    while page := "".join(islice(lines, _LINES)):
        yield page.encode()


def _real_line(plan: Plan, row: RealRow, start: int) -> str:
    facts: dict[str, object] = {
        "file_name": row.file[start:],
        "label": row.label,
        "class": plan.classes[row.label],
        "model": "",
        "seed": -1,
        "origin": REAL,
        "split": row.split,
        "index": row.sample,
        "candidate": -1,
        "pixel_sha256": row.pixel_sha256.hex(),
    }
    if plan.variants > 1:
        facts |= {"variant_of": row.sample, "variant": -1}
    return json.dumps(facts, ensure_ascii=False)
