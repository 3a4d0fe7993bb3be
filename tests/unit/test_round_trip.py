"""What a job delivers can be uploaded again as a real dataset, in every format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models.corpus.inspection import inspect
from models.corpus.read import open_source, read_splits
from tests import made_corpora as corpora
from tests import made_merges as made
from tests.builders import image, plan_of
from tests.made_exports import Made, make, unpacked

LAYOUTS = ("imagefolder", "metadata", "webdataset", "parquet", "npz")
NAMES = ("über", "日本", "../x", "never asked for", 'a"b|c', "1")
Images = Counter[tuple[str, str, bytes]]
"""Split, class and pixels of each image."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Made:
    plan = plan_of([2, 1, 3, 0, 1, 2], 2, image=image(9, 7, 3), marks=1)
    return make(replace(plan, classes=NAMES), tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> made.Merged:
    folder = tmp_path_factory.mktemp("merged")
    images = corpora.splits(1, ("train", "validation", "test"))
    upload = folder / "upload"
    upload.write_bytes(made.content_of("class-folders", images))
    return made.merged(made.planned(upload), upload, folder / "objects")


def images_in(path: Path) -> Images:
    return Counter(
        (split, corpus.classes[label], pixels.tobytes())
        for split, corpus in read_splits(path).items()
        for label, pixels in zip(corpus.labels, corpus.images, strict=True)
    )


def of_samples(made: Made) -> Images:
    names = [made.plan.classes[label] for label in made.labels]
    return Counter(
        ("train", name, pixels.tobytes()) for name, pixels in zip(names, made.pixels, strict=True)
    )


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "folder"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_archive_is_a_dataset(drawn: Made, layout: str, packed: bool, tmp_path: Path) -> None:
    archives: dict[str, Callable[[], bytes]] = {
        "imagefolder": drawn.folders, "metadata": lambda: drawn.folders(metadata=True)
    }  # fmt: skip
    content = archives.get(layout, lambda: drawn.export(layout))()
    path = tmp_path / "data"
    if packed:
        path.write_bytes(content)
    else:
        unpacked(content, path)
    assert images_in(path) == of_samples(drawn)
    with open_source(path) as source:
        assert source.classes == tuple(name for name in NAMES if name != "never asked for")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_merged_archive_is_a_dataset_with_its_splits(
    merged: made.Merged, layout: str, tmp_path: Path
) -> None:
    path = tmp_path / "data"
    path.write_bytes(merged.archive(layout))
    real = {
        (split, corpora.CLASSES[label], pixels.tobytes()): 1
        for split, rows in corpora.splits(1, ("train", "validation", "test")).items()
        for pixels, label in rows
    }
    assert images_in(path) == of_samples(merged.made) + Counter(real)
    with open_source(path) as source:
        assert source.classes == merged.plan.classes


def test_one_tar_file_is_a_dataset_too(drawn: Made, tmp_path: Path) -> None:
    folder = unpacked(drawn.export("webdataset"), tmp_path / "out")
    [tar] = folder.glob("*.tar")
    assert images_in(tar) == of_samples(drawn)


def test_tar_files_are_looked_through_in_the_sandbox(drawn: Made, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(drawn.export("webdataset"))
    survey = inspect(path, tmp_path).survey
    assert survey.kind == "webdataset"
    assert dict(zip(survey.classes, survey.counts["train"], strict=True)) == {
        name: count for name, count in drawn.plan.samples_per_class.items() if count
    }
