"""Stored samples as a worker leaves them, without a worker, and their exports."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from app.datasets import marks
from app.datasets.encoders import encoder_of
from app.datasets.exports.content import ShardFile, Stored, stored
from app.datasets.exports.formats import write_export
from app.datasets.exports.metadata import beside
from app.datasets.imagefolder import write_imagefolder
from app.datasets.manifest import Layout, Records, SampleRow, StoredRow, as_records
from app.datasets.zip_writer import ZipWriter
from app.jobs.formats import Kept, format_of
from app.jobs.plan import Plan
from app.storage import LocalStorage
from tests.image_readers import Pixels


@dataclass(frozen=True)
class Made:
    """Samples of a plan in a storage."""

    plan: Plan
    storage: LocalStorage
    shards: list[ShardFile]
    rows: list[StoredRow]
    pixels: Pixels

    def records(self) -> list[Records]:
        """Every field of the rows, shard by shard."""
        return [
            as_records([found.row for found in self.rows if found.shard == shard])
            for shard in range(self.plan.shards)
        ]

    def samples(self) -> list[Stored]:
        """Every sample, shard by shard."""
        return list(stored(self.shards, self.records(), self.storage))

    def export(self, asked: Kept) -> bytes:
        """An archive of that format."""
        with self.storage.create_large("archives/export") as writer:
            write_export(writer, format_of(asked), self.plan, ["MIT"], self.samples())
        return self.storage.read("archives/export")

    def folders(self, metadata: bool = False) -> bytes:
        """An archive of class folders."""
        key = f"archives/{metadata}.zip"
        more = beside(self.plan, ["MIT"], [self.rows]) if metadata else None
        with self.storage.create(key) as writer:
            write_imagefolder(
                writer,
                self.storage,
                self.plan,
                ["MIT"],
                self.shards,
                self.records(),
                lambda: None,
                more,
            )
        return self.storage.read(key)

    @property
    def labels(self) -> list[int]:
        """Of each sample, by its index."""
        return [self.plan.cells[found.row.cell].label for found in self.rows]


def make(plan: Plan, folder: Path) -> Made:
    """Draw noise for every sample; within a shard file, images lie in no order."""
    storage, layout = LocalStorage(folder), Layout(plan)
    shape = (plan.samples, plan.image.height, plan.image.width, plan.image.channels)
    pixels = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    shards: list[ShardFile] = []
    rows: list[StoredRow] = []
    for number in range(plan.shards):
        shard, key = plan.shard(number), f"shards/{number}.zip"
        own = pixels[shard.first : shard.first + shard.size]
        marked = range(shard.first, shard.first + shard.size) if plan.marks else None
        packets = None if marked is None else marks.packets(plan.identifier, marked)
        files = encoder_of(plan.encoding)(own, packets) if len(own) else []
        order = np.random.default_rng(number).permutation(shard.size)
        with storage.create(key) as writer:
            archive = ZipWriter(writer)
            names = [layout.file_name(shard.first + k, int(shard.cells[k])) for k in order]
            starts = archive.add_all(names, [files[k] for k in order]).tolist()
            archive.close()
        offsets = dict(zip(order.tolist(), starts, strict=True))
        rows += [
            StoredRow(
                SampleRow(
                    sample=shard.first + k,
                    cell=int(shard.cells[k]),
                    candidate=k,
                    offset=offsets[k],
                    length=len(files[k]),
                    file_sha256=hashlib.sha256(files[k]).digest(),
                    pixel_sha256=hashlib.sha256(own[k].tobytes()).digest(),
                ),
                number,
                key,
                datetime(2026, 1, 1, tzinfo=UTC),
            )
            for k in range(shard.size)
        ]
        shards.append(ShardFile(key, writer.sha256))
    return Made(plan, storage, shards, rows, pixels)


def unpacked(archive: bytes, folder: Path) -> Path:
    """The files of an archive, by Python's own reader."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        opened.extractall(folder)
    return folder
