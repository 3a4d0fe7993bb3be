"""Real images in the tar files of a WebDataset: of one split each, none with samples in it."""

from __future__ import annotations

import json

from app.datasets.exports.container import UNKNOWN_BYTES, Container
from app.datasets.exports.ustar import END, members
from app.datasets.merging.images import RealChunk, RealImages
from app.datasets.merging.rows import RealRow
from app.jobs.merge import REAL
from models.corpus.source import Split


def write_tars(
    container: Container, real: RealImages, split: Split, images_a_file: int, first: int
) -> list[dict[str, object]]:
    """Add the tar files of a split, numbered from `first`; what their index says of each.

    Image files lie in the field that the samples' files have, whatever they are: all samples of a
    WebDataset have the same fields, and readers tell an image by its content.
    """
    files: list[dict[str, object]] = []
    for number, piece in enumerate(real.pieces(split, images_a_file), first):
        name, count = f"{split}-{number:06d}.tar", 0
        with container.part(name, UNKNOWN_BYTES) as spool:
            for chunk in piece:
                spool.write(members(*_fields(real, chunk)))
                count += len(chunk.rows)
            spool.write(END)
        files.append({"url": name, "nsamples": count, "filesize": spool.bytes})
    return files


def _fields(real: RealImages, chunk: RealChunk) -> tuple[list[str], list[bytes]]:
    """Three files an image: image, label, facts."""
    extension = real.plan.encoding.extension
    names: list[str] = []
    contents: list[bytes] = []
    for row, image in zip(chunk.rows, chunk.files, strict=True):
        key = f"{row.sample:09d}"
        names += (f"{key}.{extension}", f"{key}.cls", f"{key}.json")
        contents += (image, str(row.label).encode(), _facts(real, row))
    return names, contents


def _facts(real: RealImages, row: RealRow) -> bytes:
    facts: dict[str, object] = {
        "origin": REAL,
        "synthetic": False,
        "class": real.plan.classes[row.label],
        "label": row.label,
        "dataset": real.merge.name,
        "dataset_sha256": real.merge.sha256,
        "licence": real.merge.licence,
        "source": row.source,
        "file": row.file,
        "index": row.sample,
        "file_sha256": row.file_sha256.hex(),
        "pixel_sha256": row.pixel_sha256.hex(),
    }
    if real.plan.variants > 1:
        facts["variant_of"] = row.sample
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()
