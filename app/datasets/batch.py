"""A small batch of samples in memory, as files or as arrays, and the forms it is answered in."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.datasets.contact_sheet import contact_sheet
from app.datasets.imagefolder import close_imagefolder
from app.datasets.manifest import Layout, SampleRow, as_records
from app.datasets.npz import npz_file
from app.datasets.parquet import parquet_file
from app.datasets.variants import TYPES, Variants
from app.datasets.zip_writer import ZipWriter
from app.jobs.plan import Plan
from app.jobs.transforms import parameters_of

GRID_COLUMNS = 16


@dataclass
class Batch:
    """Files in the order they were made; `rows` say which sample each one is."""

    plan: Plan
    rows: list[SampleRow] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)
    _files: dict[str, bytes] = field(default_factory=dict)

    def add_all(self, names: list[str], payloads: list[bytes]) -> NDArray[np.int64]:
        """Keep files, as a shard's run gives them."""
        self._files.update(zip(names, payloads, strict=True))
        return np.zeros(len(names), np.int64)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content, in the order they were made."""
        yield from self._files.items()

    def ordered(self) -> Iterator[tuple[SampleRow, bytes]]:
        """Row and content, in order of the sample's index."""
        layout = Layout(self.plan)
        for row in self.rows:
            yield row, self._files[layout.file_name(row.sample, row.cell)]


@dataclass(frozen=True)
class Images:
    """Pixels in order of index, without files.

    pixels: uint8 [n, H, W, C]; labels: int64 [n], positions in the classes of the plan.
    """

    plan: Plan
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def as_zip(batch: Batch) -> bytes:
    """The archive that a job of the same plan would give."""
    out = io.BytesIO()
    archive = ZipWriter(out)
    for name, content in batch.files():
        archive.add(name, content)
    digests = [as_records(batch.rows)]
    close_imagefolder(archive, batch.plan, batch.licences, digests, lambda: None)
    return out.getvalue()


def as_npz(images: Images) -> bytes:
    """`images` uint8 [n, H, W, C], `labels` int64 [n], `classes` str [k]; where a drawn image is
    several samples, `variant_of` and `variant` int64 [n] too."""
    classes = np.array(images.plan.classes, dtype=np.str_)
    arrays: dict[str, NDArray[Any]] = {
        "images": images.pixels,
        "labels": images.labels,
        "classes": classes,
    }
    if images.plan.variants > 1:
        columns = Variants(images.plan).columns(np.arange(images.plan.samples))
        arrays |= dict(zip(TYPES, columns, strict=True))
    return npz_file(arrays)


def as_parquet(batch: Batch) -> bytes:
    """One row a sample, as image datasets on the Hugging Face Hub have them."""
    files = [file for _, file in batch.ordered()]
    return parquet_file(batch.plan, as_records(batch.rows), files)


def as_grid(images: Images) -> bytes:
    """One PNG of all samples, each class in rows of its own."""
    rows: list[tuple[str, list[NDArray[np.uint8]]]] = []
    for label, name in enumerate(images.plan.classes):
        mine = list(images.pixels[images.labels == label])
        for start in range(0, len(mine), GRID_COLUMNS):
            rows.append((name if not start else "", mine[start : start + GRID_COLUMNS]))
    return contact_sheet(rows)


def as_json(batch: Batch) -> bytes:
    """Seed, models, and every sample with its class and its file in base64, named by its format."""
    plan = batch.plan
    image_format = plan.encoding.format
    variants = Variants(plan)
    document = {
        "seed": plan.seed,
        "models": [{"name": m.name, "version": m.version, "sha256": m.sha256} for m in plan.models],
        "classes": list(plan.classes),
        "encoding": plan.encoding.model_dump(),
        **({"sampling": plan.sampling.model_dump(exclude_none=True)} if plan.sampling else {}),
        "samples": [
            {
                "index": row.sample,
                "class": plan.classes[plan.cells[row.cell].label],
                "label": plan.cells[row.cell].label,
                "candidate": row.candidate,
                "pixel_sha256": row.pixel_sha256.hex(),
                **_transformed(plan, row, variants),
                image_format: base64.b64encode(content).decode(),
            }
            for row, content in batch.ordered()
        ],
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _transformed(plan: Plan, row: SampleRow, variants: Variants) -> dict[str, Any]:
    """What happened to an image after it was drawn, as the manifest of a job says it."""
    if not plan.transforms:
        return {}
    first, variant = variants.of(row.sample)
    found = parameters_of(
        plan.transforms,
        plan.image,
        seed=plan.seed,
        model=plan.models[plan.cells[row.cell].model].sha256,
        shard=plan.locate(row.sample)[0],
        candidate=row.candidate,
        variant=variant,
    )
    which = {"variant_of": first, "variant": variant} if plan.variants > 1 else {}
    return {**which, "transforms": found}
