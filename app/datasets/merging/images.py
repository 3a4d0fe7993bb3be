"""The files of real images, one after the other out of what was uploaded.

Image files go on as they are, byte for byte; images that lie in arrays become PNG files, which lose
nothing. Nothing is unpacked to disk, and a few images are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path

from app.datasets.intake import refusals
from app.datasets.manifest import Layout
from app.datasets.merging.names import RealNames
from app.datasets.merging.rows import RealRow, RealRows, RowsWriter
from app.datasets.png import encode_batch
from app.errors import DatasetCorruptError
from app.jobs.merge import PlannedMerge
from app.jobs.plan import Plan
from app.storage import HashingWriter
from models.corpus.read import native_pixels, open_source
from models.corpus.source import Item, Source, Split

CHUNK_IMAGES = 500
CHUNK_BYTES = 32 << 20

KeepGoing = Callable[[], None]
"""Called now and then; raises to stop."""


@dataclass(frozen=True, slots=True)
class RealChunk:
    """Some real images in order of index, and their files."""

    rows: list[RealRow] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RealImages:
    """The real images of a merged dataset. upload: the file that they lie in, checked before."""

    plan: Plan
    merge: PlannedMerge
    upload: Path
    rows: RealRows
    keep_going: KeepGoing

    def count(self, split: Split) -> int:
        """How many there are of a split."""
        return sum(self.merge.real(split).values())

    def chunks(self, split: Split) -> Iterator[RealChunk]:
        """The images of a split. Raises DatasetCorruptError when one is not what was listed."""
        return self._chunked(self._images(split))

    def pieces(self, split: Split, size: int) -> Iterator[Iterator[RealChunk]]:
        """The same, cut into pieces of `size`; read each to its end before you ask for the next."""
        images = self._images(split)
        for start in range(0, self.count(split), size):
            yield self._chunked(islice(images, min(size, self.count(split) - start)))

    def _images(self, split: Split) -> Iterator[tuple[RealRow, bytes]]:
        if split not in self.merge.counts:
            return
        rows = self.rows.all(split)
        with _source_of(self.upload, self.merge) as source:
            for item, row in zip(source.items(split), rows, strict=True):
                content = file_of(item)
                if sha256(content).digest() != row.file_sha256:
                    raise _changed(self.merge)
                yield row, content

    def _chunked(self, images: Iterator[tuple[RealRow, bytes]]) -> Iterator[RealChunk]:
        chunk, size = RealChunk(), 0
        for row, content in images:
            chunk.rows.append(row)
            chunk.files.append(content)
            size += len(content)
            if len(chunk.rows) == CHUNK_IMAGES or size >= CHUNK_BYTES:
                self.keep_going()
                yield chunk
                chunk, size = RealChunk(), 0
        if chunk.rows:
            yield chunk


def file_of(item: Item) -> bytes:
    """An image as a file: its own, or a PNG of its pixels."""
    if isinstance(item.content, bytes):
        return item.content
    return encode_batch(item.content[None])[0]


def list_images(plan: Plan, upload: Path, sink: HashingWriter, keep_going: KeepGoing) -> None:
    """Write the rows of every real image of a plan that is merged with the dataset in a file.

    Raises DatasetCorruptError when it is not that dataset, and what `keep_going` raises.
    """
    assert plan.merge is not None
    writer = RowsWriter(sink)
    names = RealNames(Layout(plan))
    with _source_of(upload, plan.merge) as source:
        labels = [plan.classes.index(name) for name in source.classes]
        for number, item in enumerate(source.items()):
            label = labels[item.label]
            writer.add(_row(item, plan.samples + number, label, names.of(item, label, number)))
            if not number % CHUNK_IMAGES:
                keep_going()
    writer.close()


def _row(item: Item, index: int, label: int, name: str) -> RealRow:
    content, pixels = file_of(item), native_pixels(item)
    height, width, channels = pixels.shape
    return RealRow(
        sample=index,
        split=item.split,
        label=label,
        file=name,
        source=item.name,
        length=len(content),
        height=height,
        width=width,
        channels=channels,
        file_sha256=sha256(content).digest(),
        pixel_sha256=sha256(pixels.tobytes()).digest(),
    )


@contextmanager
def _source_of(upload: Path, merge: PlannedMerge) -> Iterator[Source]:
    """The dataset in a file, which has to be the one that was planned with."""
    with refusals(), open_source(upload) as source:
        counts = {
            split: dict(zip(source.classes, source.counts(split).tolist(), strict=True))
            for split in source.splits
        }
        if counts != merge.counts:
            raise _changed(merge)
        yield source


def _changed(merge: PlannedMerge) -> DatasetCorruptError:
    return DatasetCorruptError(
        f"The stored file of {merge.name} is no longer what the job was planned with. Restore it "
        "from a backup, then submit the job again."
    )
