"""The `imagefolder` archive: class folders that torchvision reads as they are, in one zip.

    <class folder>/<index>.png      every sample (.webp, .jpg where those were asked for)
    dataset.json                    what the dataset is and where it comes from
    SHA256SUMS                      of every other file; `sha256sum -c SHA256SUMS` checks them

Nothing in it depends on when, where or by how many workers it was made: the same plan on the
same kind of machine gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from io import BufferedReader
from typing import Any, BinaryIO, cast

from app.datasets.manifest import Layout
from app.datasets.zip_writer import ZipWriter
from app.errors import DamagedShardError
from app.jobs.encoding import PNG
from app.jobs.plan import Plan
from app.storage import HashingWriter, LocalStorage

FORMAT = "synthloom-dataset/1"
DATASET_FILE, SUMS_FILE = "dataset.json", "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A stored shard, and the hash it must have."""

    object_key: str
    sha256: str


Digests = Iterable[Sequence[tuple[int, int, bytes]]]
"""Pages of (sample index, cell, SHA-256 of the file), in order of index."""


def write_imagefolder(
    writer: HashingWriter,
    storage: LocalStorage,
    plan: Plan,
    licences: Sequence[str],
    shards: Iterable[ShardFile],
    digests: Digests,
    keep_going: Callable[[], None],
) -> int:
    """Write the archive; returns the number of its members.

    `keep_going` is called between shards and pages, and raises to stop. Raises
    DamagedShardError when a shard is not the one that was stored.
    """
    archive = ZipWriter(writer)
    try:
        for shard in shards:
            keep_going()
            _append(archive, storage, shard)
        close_imagefolder(archive, plan, licences, digests, keep_going)
    finally:
        archive.discard()
    return archive.entries


def close_imagefolder(
    archive: ZipWriter,
    plan: Plan,
    licences: Sequence[str],
    digests: Digests,
    keep_going: Callable[[], None],
) -> None:
    """Add what stands behind the images, and end the archive."""
    document = dataset_document(plan, licences)
    archive.add(DATASET_FILE, document)
    with tempfile.TemporaryFile() as sums:
        _write_sums(cast("BinaryIO", sums), Layout(plan), document, digests, keep_going)
        archive.add_file(SUMS_FILE, cast("BinaryIO", sums))
    archive.close()


def dataset_document(plan: Plan, licences: Sequence[str]) -> bytes:
    """`dataset.json` of a plan."""
    layout = Layout(plan)
    document: dict[str, Any] = {
        "format": FORMAT,
        "synthetic": True,
        "samples": plan.samples,
        "seed": plan.seed,
        "classes": list(plan.classes),
        "directories": layout.directories,
        "samples_per_class": plan.samples_per_class,
        "image": plan.image.model_dump(),
        "models": [
            {
                "name": model.name,
                "version": model.version,
                "sha256": model.sha256,
                "weight": model.weight,
                "licence": licence,
            }
            for model, licence in zip(plan.models, licences, strict=True)
        ],
        "shards": plan.shards,
        "engine_batch": plan.engine_batch,
        "precision": plan.precision,
        "encoder": plan.encoder,
    }
    if plan.encoding != PNG:  # what is not there is PNG: archives of before there was a choice
        document["encoding"] = plan.encoding.model_dump()
    if plan.labelled_by:
        document["labelled_by"] = asdict(plan.labelled_by)
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _append(archive: ZipWriter, storage: LocalStorage, shard: ShardFile) -> None:
    with storage.open(shard.object_key) as file:
        if hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest() != shard.sha256:
            raise DamagedShardError(
                "A shard on the disk has changed since it was written. Check the disk, then "
                "submit the job again."
            )
        archive.add_archive(file)


def _write_sums(
    sums: BinaryIO,
    layout: Layout,
    document: bytes,
    digests: Digests,
    keep_going: Callable[[], None],
) -> None:
    for page in digests:
        keep_going()
        lines = [f"{sha.hex()}  {layout.file_name(index, cell)}\n" for index, cell, sha in page]
        sums.write("".join(lines).encode())
    sums.write(f"{hashlib.sha256(document).hexdigest()}  {DATASET_FILE}\n".encode())
