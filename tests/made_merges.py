"""Samples as a worker leaves them, and beside them real images of every format that is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.datasets.exports.formats import write_export
from app.datasets.exports.metadata import beside
from app.datasets.imagefolder import write_imagefolder
from app.datasets.merging.images import RealImages, list_images
from app.datasets.merging.rows import RealRows
from app.datasets.parquet_rows import RowsFile
from app.jobs.encoding import PNG, Encoding
from app.jobs.formats import format_of
from app.jobs.merge import PlannedMerge
from app.jobs.plan import Cell, Plan
from models.corpus.read import open_source
from models.corpus.survey import Surveyor
from tests import made_corpora as corpora
from tests.builders import image, plan_of
from tests.made_exports import Made, make
from tests.merged_readers import Found

DRAWN = {"bee": 4, "new": 3}
"""Class → samples; `new` is none of the real dataset."""
SAMPLES = sum(DRAWN.values())
KINDS = ("class-folders", "imagefolder", "npz", "parquet", "idx")


def content_of(kind: str, made: corpora.Splits) -> bytes:
    """The file that is uploaded."""
    match kind:
        case "class-folders":
            return corpora.zipped(corpora.class_folders(made))
        case "imagefolder":
            return corpora.zipped(corpora.imagefolder(made))
        case "npz":
            return corpora.npz(made)
        case "parquet":
            return corpora.hugging_face_parquet(made["train"])
    return corpora.zipped(corpora.idx_files(made, packed=True))


@dataclass(frozen=True)
class Merged:
    """A plan, its samples, and the real images beside them."""

    made: Made
    real: RealImages

    @property
    def plan(self) -> Plan:
        """Of both."""
        return self.made.plan

    def export(self, name: str) -> bytes:
        """An archive of that format."""
        storage, samples = self.made.storage, self.made.samples()
        with storage.create_large("export") as writer:
            write_export(writer, format_of({"type": name}), self.plan, ["MIT"], samples, self.real)
        return storage.read("export")

    def imagefolder(self, metadata: bool = False) -> bytes:
        """The archive of class folders."""
        more = beside(self.plan, ["MIT"], [self.made.rows], self.real.rows) if metadata else None
        storage = self.made.storage
        with storage.create("archive.zip") as writer:
            write_imagefolder(
                writer,
                storage,
                self.plan,
                ["MIT"],
                self.made.shards,
                self.made.records(),
                _go_on,
                more,
                self.real,
            )
        return storage.read("archive.zip")

    def archive(self, name: str) -> bytes:
        """Of any format; `metadata` is that of class folders with metadata.jsonl."""
        if name in ("imagefolder", "metadata"):
            return self.imagefolder(name == "metadata")
        return self.export(name)

    def manifest(self) -> list[Found]:
        """What the rows say: of every image its split, origin, class and pixels, sorted."""
        classes = self.plan.classes
        drawn = [
            ("train", "synthetic", classes[label], found.row.pixel_sha256.hex())
            for label, found in zip(self.made.labels, self.made.rows, strict=True)
        ]
        real = [
            (row.split, "real", classes[row.label], row.pixel_sha256.hex())
            for row in self.real.rows.all()
        ]
        return sorted(drawn + real)


def planned(
    upload: Path,
    channels: int = 1,
    encoding: Encoding = PNG,
    drawn: Mapping[str, int] = DRAWN,
) -> Plan:
    """Samples of these classes, merged with the dataset in a file."""
    with open_source(upload) as source:
        survey = Surveyor(source).survey()
    merge = PlannedMerge(
        "pets", survey.sha256, "CC BY 4.0", "Ünï 類, *2026*", _counts(survey.classes, survey.counts)
    )
    classes = tuple(dict.fromkeys((*survey.classes, *drawn)))
    cells = tuple(Cell(0, classes.index(name), k, n) for k, (name, n) in enumerate(drawn.items()))
    height, width = corpora.SIDES
    plan = plan_of([1], 2, image=image(height, width, channels), encoding=encoding)
    return replace(plan, classes=classes, cells=cells, merge=merge)


def merged(plan: Plan, upload: Path, folder: Path) -> Merged:
    """Draw the samples and list the real images."""
    made = make(plan, folder)
    with made.storage.create("real.parquet") as writer:
        list_images(plan, upload, writer, _go_on)
    rows = RealRows(
        made.storage, RowsFile("real.parquet", writer.bytes, writer.sha256), plan.samples
    )
    assert plan.merge is not None
    return Merged(made, RealImages(plan, plan.merge, upload, rows, _go_on))


def hashes_of(made: corpora.Splits, split: str) -> list[tuple[str, str]]:
    """Class and SHA-256 of the pixels of each real image of a split, sorted."""
    return sorted(
        (corpora.CLASSES[label], hashlib.sha256(pixels.tobytes()).hexdigest())
        for pixels, label in made[split]
    )


def _counts(
    classes: Sequence[str], counts: dict[str, tuple[int, ...]]
) -> dict[str, dict[str, int]]:
    return {split: dict(zip(classes, every, strict=True)) for split, every in counts.items()}


def _go_on() -> None:
    pass
