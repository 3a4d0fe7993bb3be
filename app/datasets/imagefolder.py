"""The `imagefolder` archive: class folders that torchvision reads as they are, in one zip.

    <class folder>/<index>.png      every sample (.webp, .jpg where those were asked for)
    dataset.json                    what the dataset is and where it comes from
    ATTRIBUTION.md                  of a dataset that is merged with a real one: whose images
    SHA256SUMS                      of every other file; `sha256sum -c SHA256SUMS` checks them

Nothing in it depends on when, where or by how many workers it was made: the same plan on the
same kind of machine gives the same bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BufferedReader
from typing import BinaryIO, cast

from app.datasets.document import dataset_document
from app.datasets.exports.content import ShardFile, ahead
from app.datasets.lines import beside as text_beside
from app.datasets.lines import hexadecimal
from app.datasets.manifest import Layout, Records
from app.datasets.members import CHECKSUMS, DESCRIPTION
from app.datasets.merging.attribution import ATTRIBUTION, attribution
from app.datasets.merging.images import RealChunk, RealImages
from app.datasets.zip_writer import ZipWriter
from app.errors import DamagedShardError
from app.jobs.plan import Plan
from app.storage import HashingWriter, LocalStorage

DIGESTS = ("cell", "file_sha256")
"""What a line of `SHA256SUMS` is made of, beside the index."""

Digests = Iterable[Records]
"""Pages of rows in order of index, with these fields."""

Beside = Mapping[str, Iterable[bytes]]
"""Name → content of a file, in pieces."""


def write_imagefolder(
    writer: HashingWriter,
    storage: LocalStorage,
    plan: Plan,
    licences: Sequence[str],
    shards: Iterable[ShardFile],
    digests: Digests,
    keep_going: Callable[[], None],
    beside: Beside | None = None,
    real: RealImages | None = None,
) -> int:
    """Write the archive; returns the number of its members.

    real: the images of a dataset that it is merged with; they lie beside the samples.

    `beside` are more files, which stand behind the images.
    `keep_going` is called between shards and pages, and raises to stop. Raises
    DamagedShardError when a shard is not the one that was stored.
    """
    archive = ZipWriter(writer)
    try:
        for shard, _ in ahead(shards, partial(_check, storage)):
            keep_going()
            with storage.open(shard.object_key) as file:
                archive.add_archive(file)
        for chunk in _chunks(real):
            archive.add_all([row.file for row in chunk.rows], chunk.files)
        close_imagefolder(archive, plan, licences, digests, keep_going, beside, real)
    finally:
        archive.discard()
    return archive.entries


def close_imagefolder(
    archive: ZipWriter,
    plan: Plan,
    licences: Sequence[str],
    digests: Digests,
    keep_going: Callable[[], None],
    beside: Beside | None = None,
    real: RealImages | None = None,
) -> None:
    """Add what stands behind the images, and end the archive."""
    more = [(_added(archive, name, content), name) for name, content in (beside or {}).items()]
    document = dataset_document(plan, licences)
    archive.add(DESCRIPTION, document)
    more.append((hashlib.sha256(document).hexdigest(), DESCRIPTION))
    if real is not None:
        whose = attribution(plan, real.merge, licences)
        more.append((_added(archive, ATTRIBUTION, [whose]), ATTRIBUTION))
    with tempfile.TemporaryFile() as sums:
        _write_sums(cast("BinaryIO", sums), Layout(plan), more, digests, keep_going)
        for row in real.rows.all() if real is not None else ():
            sums.write(f"{row.file_sha256.hex()}  {row.file}\n".encode())
        archive.add_file(CHECKSUMS, cast("BinaryIO", sums))
    archive.close()


def _added(archive: ZipWriter, name: str, content: Iterable[bytes]) -> str:
    """Append a file that comes in pieces; its SHA-256."""
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as file:
        for piece in content:
            digest.update(piece)
            file.write(piece)
        archive.add_file(name, cast("BinaryIO", file))
    return digest.hexdigest()


def _chunks(real: RealImages | None) -> Iterator[RealChunk]:
    for split in real.merge.splits if real is not None else ():
        assert real is not None
        yield from real.chunks(split)


def _check(storage: LocalStorage, shard: ShardFile) -> None:
    with storage.open(shard.object_key) as file:
        if hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest() != shard.sha256:
            raise DamagedShardError(
                "A shard on the disk has changed since it was written. Check the disk, then "
                "submit the job again."
            )


def _write_sums(
    sums: BinaryIO,
    layout: Layout,
    more: Sequence[tuple[str, str]],
    digests: Digests,
    keep_going: Callable[[], None],
) -> None:
    for page in digests:
        keep_going()
        names = layout.paths(page["index"], page["cell"])
        lines = text_beside(len(page), hexadecimal(page["file_sha256"]), b"  ", names, b"\n")
        sums.write(lines.joined())
    sums.write("".join(f"{sha}  {name}\n" for sha, name in more).encode())
