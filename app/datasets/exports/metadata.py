"""What Hugging Face `datasets` reads beside class folders: `metadata.jsonl` and a dataset card.

Where there is such a file, labels are not taken from the folders, so each line has one:
https://huggingface.co/docs/datasets/image_dataset. Readers of class folders pass both files by.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from app.datasets.exports.card import dataset_card
from app.datasets.manifest import Layout, StoredRow
from app.datasets.members import METADATA
from app.datasets.parquet import COLUMNS
from app.jobs.plan import Plan

CARD = "README.md"

Pages = Iterable[Sequence[StoredRow]]
"""Rows in order of index."""


def beside(plan: Plan, licences: Sequence[str], pages: Pages) -> dict[str, Iterable[bytes]]:
    """Name → content of each file, in pieces."""
    files = [f"*/*.{plan.encoding.extension}", METADATA]
    card = dataset_card(plan, licences, COLUMNS, files)
    return {METADATA: metadata_lines(plan, pages), CARD: [card.encode()]}


def metadata_lines(plan: Plan, pages: Pages) -> Iterator[bytes]:
    """A line of JSON for each image; every line has the same members with the same types."""
    layout = Layout(plan)
    shared = [_shared(plan, cell) for cell in range(len(plan.cells))]
    for page in pages:
        lines: list[str] = []
        for row, *_ in page:
            name = json.dumps(layout.file_name(row.sample, row.cell), ensure_ascii=False)
            lines.append(
                f'{{"file_name": {name}, {shared[row.cell]}, "index": {row.sample}, '
                f'"candidate": {row.candidate}, "pixel_sha256": "{row.pixel_sha256.hex()}"}}\n'
            )
        yield "".join(lines).encode()


def _shared(plan: Plan, cell: int) -> str:
    """Members that all samples of a cell have."""
    planned = plan.cells[cell]
    facts = {
        "label": planned.label,
        "class": plan.classes[planned.label],
        "model": plan.models[planned.model].ref,
        "seed": plan.seed,
    }
    return json.dumps(facts, ensure_ascii=False)[1:-1]
