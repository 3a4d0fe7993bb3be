"""Every format of a merged dataset, by the readers that will train with it, and the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli.readers import read_by_readers
from app.datasets.croissant import croissant
from app.datasets.exports.parquet_dataset import data_files
from app.datasets.verify import verify
from tests import made_corpora as corpora
from tests import made_merges as made
from tests.made_croissants import load, story
from tests.made_exports import unpacked
from tests.merged_readers import READERS, in_columns, in_records

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # open files
]
NAMES = ("über", "日本", "CON", 'a"b|c', "😀", "train", "Bag", "1", "naïve café")
CHANNELS = {"grey": 1, "RGB": 3, "RGBA": 4}
CLASSES = ("1", "2", "10", "1000", "Unicode")
CROISSANT = "croissant"
IN_EACH_RUN = {
    ("RGB", "Unicode"): (*READERS, CROISSANT),
    ("RGBA", "2"): (*READERS, CROISSANT),
    ("grey", "1"): ("imagefolder", "metadata", "npz", CROISSANT),
    ("grey", "1000"): ("npz",),
}
"""The others are for `make soak`: thousands of classes take their time."""


PAIRS = list(product(CHANNELS, CLASSES))
"""The same objects everywhere: by these, fixtures are told apart."""


def cases(layouts: Iterable[str]) -> list[Any]:
    return [
        pytest.param(
            *(pair, layout)[: 1 if layout == CROISSANT else 2],
            marks=() if layout in IN_EACH_RUN.get(pair, ()) else pytest.mark.soak,
            id="-".join((*pair, layout)),
        )
        for pair, layout in product(PAIRS, layouts)
    ]


class Uploaded:
    """Real images in class folders, and what is merged with them."""

    def __init__(self, kind: str, classes: str, folder: Path) -> None:
        self.folder, self.channels = folder, CHANNELS[kind]
        names = NAMES if classes == "Unicode" else [f"c{k:03d}" for k in range(int(classes))]
        several = ("train", "validation", "test")
        self.splits = several if classes in ("2", "Unicode") else ("train",)
        self.files = {
            f"{f'{split}/' if len(self.splits) > 1 else ''}{name}/{number} ü.{ending}": content
            for split in self.splits
            for place, name in enumerate(names)
            for number, (ending, content) in enumerate(self._images(classes == "1000", place))
        }
        upload = corpora.to_zip(self.files, folder / "upload.zip")
        drawn = (
            dict.fromkeys(names, 1) if classes == "1000" else {names[0]: 2, names[-1]: 1, "new": 3}
        )
        plan = made.planned(upload, self.channels, drawn=drawn)
        self.merged = made.merged(plan, upload, folder / "objects")

    def _images(self, few: bool, seed: int) -> list[tuple[str, bytes]]:
        shape = (*corpora.SIDES, self.channels)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        images = [("png", corpora.png(pixels))]
        if self.channels < 4 and not few:
            images.append(("JPG", corpora.jpeg(pixels)))
        return images


@pytest.fixture(scope="module")
def uploaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Uploaded:
    kind, classes = request.param
    return Uploaded(kind, classes, tmp_path_factory.mktemp(f"{kind}-{classes}"))


@pytest.mark.parametrize(("uploaded", "layout"), cases(READERS), indirect=["uploaded"])
def test_every_image_is_read(uploaded: Uploaded, layout: str, tmp_path: Path) -> None:
    merged = uploaded.merged
    folder = unpacked(merged.archive(layout), tmp_path / "out")
    assert sorted(READERS[layout](folder, merged.plan)) == merged.manifest()
    if layout == "parquet":
        assert sorted(in_columns(folder, merged.plan)) == merged.manifest()
    if layout in ("imagefolder", "metadata"):
        files = {row.source: (folder / row.file).read_bytes() for row in merged.real.rows.all()}
        assert files == uploaded.files
    assert verify(folder).problems == []


@pytest.mark.parametrize("uploaded", cases([CROISSANT]), indirect=True)
def test_every_record_of_croissant_is_read(uploaded: Uploaded, tmp_path: Path) -> None:
    merged = uploaded.merged
    archives = {name: merged.archive(name) for name in ("imagefolder", "parquet")}
    parts = data_files(merged.plan, 10_000)
    loaded = load(croissant(merged.plan, story(archives, parts=parts)), archives, tmp_path)
    assert loaded.metadata.ctx.issues.report() == ""
    assert sorted(in_records(loaded, "images")) == merged.manifest()
    tables = ["samples", *(f"samples-{number}" for number in range(1, len(parts)))]
    rows = [row for name in tables for row in in_records(loaded, name)]
    assert sorted(rows) == merged.manifest()


@pytest.mark.parametrize("uploaded", [pytest.param(PAIRS[0], id="grey-1")], indirect=True)
def test_the_command_counts_both_origins(uploaded: Uploaded, tmp_path: Path) -> None:
    """`synthloom verify --readers` of every format."""
    found = {}
    for layout in ("metadata", "webdataset", "parquet", "npz"):
        path = tmp_path / layout
        path.write_bytes(uploaded.merged.archive(layout))
        read = read_by_readers(path)
        assert {sum(one.samples_per_class.values()) for one in read} == {4}
        assert all(one.real == {"train": {"c000": 2}} for one in read)
        found[layout] = [one.reader for one in read]
    assert found == {
        "metadata": ["torchvision", "datasets"],
        "webdataset": ["webdataset"],
        "parquet": ["datasets"],
        "npz": ["numpy"],
    }
