"""Every format for every kind of dataset, by the readers that will train with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from app.cli.readers import read_by_readers
from app.datasets.readback import read_back
from app.datasets.verify import verify
from tests.builders import image, plan_of
from tests.made_exports import make

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NAMES = ("über", "日本", "../x", "CON", 'a"b|c', "naïve\ncafé", "😀", "train", "Bag", "bag", "1")
KINDS = ("grey", "RGB", "RGBA")
CLASSES = ("1", "2", "10", "1000", "Unicode")
FORMATS = ("imagefolder", "metadata", "webdataset", "parquet", "npz")
THIN = {("RGB", "Unicode", layout) for layout in FORMATS}
CASES = [
    pytest.param(*case, marks=() if case in THIN else pytest.mark.soak, id="-".join(case))
    for case in product(KINDS, CLASSES, FORMATS)
]


@pytest.mark.parametrize(("kind", "classes", "layout"), CASES)
def test_every_reader_counts_every_sample(
    kind: str, classes: str, layout: str, tmp_path: Path
) -> None:
    count = len(NAMES) if classes == "Unicode" else int(classes)
    channels = {"grey": 1, "RGB": 3, "RGBA": 4}[kind]
    counts = [1 + number % 2 for number in range(count)]
    plan = plan_of(counts, 2, image=image(9, 7, channels), marks=1)
    if classes == "Unicode":
        plan = replace(plan, classes=NAMES)
    made = make(plan, tmp_path / "objects")
    name: Any = "imagefolder" if layout == "metadata" else layout
    folders = layout in ("imagefolder", "metadata")
    archive = made.folders(layout == "metadata") if folders else made.export(layout)
    path = tmp_path / "archive.zip"
    path.write_bytes(archive)
    read_back(path, name, plan, Counter(made.labels), lambda: None)
    assert verify(path).problems == []
    read = read_by_readers(path)
    assert [sum(one.samples_per_class.values()) for one in read] == [plan.samples] * len(read)
    assert len(read) == (2 if layout == "metadata" else 1)
