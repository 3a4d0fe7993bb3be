"""Real images beside samples, read by what trainers read them with: all there, none changed."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from app.datasets.verify import verify
from app.errors import DamagedRowsError, DatasetCorruptError
from app.jobs.encoding import Jpeg
from models.corpus.read import read_splits
from tests import made_corpora as corpora
from tests import made_merges as made
from tests.made_datasets import zipped
from tests.made_exports import unpacked
from tests.merged_readers import READERS, Found

ALL = ("train", "validation", "test")
FORMATS = ("imagefolder", "webdataset", "parquet", "npz")


def merge(kind: str, folder: Path, splits: tuple[str, ...] = ALL, channels: int = 1) -> made.Merged:
    images = corpora.splits(channels, splits)
    upload = folder / "upload"
    upload.write_bytes(made.content_of(kind, images))
    return made.merged(made.planned(upload, channels), upload, folder / "objects")


def expected(merged: made.Merged, splits: tuple[str, ...], channels: int = 1) -> list[Found]:
    images = corpora.splits(channels, splits)
    real = [(s, "real", name, sha) for s in splits for name, sha in made.hashes_of(images, s)]
    drawn = [
        ("train", "synthetic", merged.plan.classes[label], hashlib.sha256(p.tobytes()).hexdigest())
        for label, p in zip(merged.made.labels, merged.made.pixels, strict=True)
    ]
    return sorted(real + drawn)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset's files
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("kind", "splits", "channels"),
    [
        ("class-folders", ALL, 1),
        ("class-folders", ("train",), 3),
        ("imagefolder", ("train", "test"), 3),
        ("npz", ALL, 1),
        ("parquet", ("train",), 4),
        ("idx", ("train", "test"), 1),
    ],
)
def test_every_image_is_there_once(
    kind: str, splits: tuple[str, ...], channels: int, name: str, tmp_path: Path
) -> None:
    merged = merge(kind, tmp_path, splits, channels)
    folder = unpacked(merged.archive(name), tmp_path / "out")
    assert sorted(READERS[name](folder, merged.plan)) == expected(merged, splits, channels)
    found = verify(folder)
    assert found.problems == []
    assert found.delivered == made.DRAWN
    assert found.real == {split: dict.fromkeys(merged.real.merge.classes, 5) for split in splits}
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


@pytest.mark.parametrize("splits", [("train",), ALL])
def test_real_files_are_those_that_were_uploaded(splits: tuple[str, ...], tmp_path: Path) -> None:
    merged = merge("class-folders", tmp_path, splits)
    folder = unpacked(merged.imagefolder(), tmp_path / "out")
    uploaded = corpora.class_folders(corpora.splits(1, splits))
    for path, content in uploaded.items():
        assert (folder / path).read_bytes() == content
    kept = {path for path in folder.rglob("*") if path.is_file()}
    names = [path.name for path in kept if path.relative_to(folder).as_posix() not in uploaded]
    others = {"ATTRIBUTION.md", "SHA256SUMS", "dataset.json"}
    assert all(name in others or name.startswith("synthetic-0000") for name in names)
    assert len(names) == made.SAMPLES + len(others)


def test_synthetic_images_are_in_the_training_split_only(tmp_path: Path) -> None:
    folder = unpacked(merge("class-folders", tmp_path).imagefolder(), tmp_path / "out")
    found = Counter(path.relative_to(folder).parts[0] for path in folder.rglob("synthetic-*"))
    assert found == {"train": made.SAMPLES}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_bytes_again(name: str, tmp_path: Path) -> None:
    for again in ("a", "b"):
        (tmp_path / again).mkdir()
    first, second = (merge("npz", tmp_path / again).archive(name) for again in ("a", "b"))
    assert first == second


def test_a_merged_archive_is_a_dataset_that_can_be_uploaded(tmp_path: Path) -> None:
    merged = merge("class-folders", tmp_path)
    path = tmp_path / "merged.zip"
    path.write_bytes(merged.imagefolder())
    read = read_splits(path)
    assert {split: len(corpus) for split, corpus in read.items()} == {
        "train": 15 + made.SAMPLES, "validation": 15, "test": 15
    }  # fmt: skip
    assert read["train"].classes == merged.plan.classes


def test_whose_images_they_are_is_said_in_every_archive(tmp_path: Path) -> None:
    merged = merge("parquet", tmp_path, ("train",))
    for name in FORMATS:
        with zipfile.ZipFile(io.BytesIO(merged.archive(name))) as archive:
            text = archive.read("ATTRIBUTION.md").decode()
            said = json.loads(archive.read("dataset.json"))["merged"]
        assert "Licence: CC BY 4.0" in text
        assert "Attribution: Ünï 類, *2026*" in text
        assert "`maker@1.0`, licence: MIT" in text
        assert (said["licence"], said["attribution"]) == ("CC BY 4.0", "Ünï 類, *2026*")
    with zipfile.ZipFile(io.BytesIO(merged.archive("parquet"))) as archive:
        card = archive.read("README.md").decode()
    assert 'license_name: "MIT, CC BY 4.0"' in card
    assert "15 real images of the dataset pets" in card


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset's files
def test_files_of_another_kind_lie_in_the_field_of_the_samples(tmp_path: Path) -> None:
    images = corpora.splits(1)
    upload = tmp_path / "upload"
    upload.write_bytes(made.content_of("class-folders", images))
    plan = made.planned(upload, encoding=Jpeg(quality=90))
    merged = made.merged(plan, upload, tmp_path / "objects")
    folder = unpacked(merged.export("webdataset"), tmp_path / "out")
    import webdataset

    files = sorted(str(path) for path in folder.glob("*.tar"))
    read = list(webdataset.WebDataset(files, shardshuffle=False).decode("pil"))
    assert {image["jpg"].size for image in read} == {corpora.SIDES[::-1]}
    assert len(read) == 15 + made.SAMPLES
    assert verify(unpacked(merged.imagefolder(), tmp_path / "folders")).problems == []


# Names


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    """Files of one name below a class, and those that look like samples, keep their content."""
    pixels = [pixels for pixels, _ in corpora.splits(1)["train"]]
    files = {
        "ape/a/1.png": corpora.png(pixels[0]),
        "ape/b/1.png": corpora.png(pixels[1]),
        "ape/c/1.PNG": corpora.png(pixels[2]),
        "ape/synthetic-00000000.png": corpora.png(pixels[3]),
        "bee/synthetic-00000000.png": corpora.png(pixels[4]),
        "bee/real-00000004-synthetic-00000000.png": corpora.png(pixels[5]),
        "bee/x.pbm": corpora.png(pixels[6]),
    }
    upload = corpora.to_zip(files, tmp_path / "upload.zip")
    merged = made.merged(made.planned(upload), upload, tmp_path / "objects")
    folder = unpacked(merged.imagefolder(), tmp_path / "out")
    real = sorted(row.file for row in merged.real.rows.all())
    assert len({name.casefold() for name in real}) == len(files)
    assert {(folder / name).read_bytes() for name in real} == set(files.values())
    assert "ape/1.png" in real
    assert "bee/x.png" in real
    assert verify(folder).problems == []


# What is wrong is found


def spoilt(merged: made.Merged, how: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(merged.imagefolder())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = "test/ape/000.png"
    if how == "changed":
        files[name] = files["test/ape/003.png"]
    elif how == "missing":
        del files[name]
    elif how == "synthetic in test":
        files["test/ape/synthetic-00000099.png"] = files.pop(name)
    elif how == "another count":
        document = json.loads(files["dataset.json"])
        document["merged"]["counts"]["test"]["ape"]["real"] = 6
        files["dataset.json"] = json.dumps(document).encode()
    return files


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("changed", "test/ape/000.png is not the file that SHA256SUMS lists."),
        ("missing", "Class ape has 4 real images in test, not the 5 that dataset.json states."),
        ("synthetic in test", "test/ape/synthetic-00000099.png is not listed in SHA256SUMS."),
        ("another count", "Class ape has 5 real images in test, not the 6 that dataset.json"),
    ],
)
def test_what_is_wrong_with_real_images_is_named(how: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.zip"
    path.write_bytes(zipped(spoilt(merge("class-folders", tmp_path), how)))
    assert any(sentence in problem for problem in verify(path).problems)


def test_an_upload_that_has_changed_is_not_merged(tmp_path: Path) -> None:
    merged = merge("class-folders", tmp_path)
    other = corpora.class_folders(corpora.splits(1, ALL, seed=1))
    merged.real.upload.write_bytes(corpora.zipped(other))
    with pytest.raises(DatasetCorruptError, match="no longer what the job was planned with"):
        merged.imagefolder()


def test_rows_that_have_changed_are_not_believed(tmp_path: Path) -> None:
    merged = merge("npz", tmp_path)
    file = replace(merged.real.rows.file, sha256="00" * 32)
    with pytest.raises(DamagedRowsError):
        replace(merged.real.rows, file=file).read(-1, 10)
