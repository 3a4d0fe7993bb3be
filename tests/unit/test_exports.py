"""Exports, read by what trainers read them with: every sample, its label, its pixels."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.datasets.exports.content import ShardFile, stored
from app.datasets.exports.ustar import headers, members
from app.datasets.manifest import StoredRow
from app.datasets.verify import verify
from app.errors import DamagedShardError
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from app.jobs.plan import Plan
from tests.builders import image, plan_of
from tests.image_readers import with_pillow
from tests.made_exports import Made, make, unpacked

UNICODE = ("über", "日本", "../x", "CON", 'a"b|c', "naïve\ncafé", "😀")
EXPORTS = ["webdataset", "parquet", "npz"]


def plan(kind: str, encoding: Encoding | None = None, channels: int = 1) -> Plan:
    shape = image(9, 7, channels)
    chosen = encoding or Png()
    match kind:
        case "one class":
            return plan_of([5], 2, image=shape, encoding=chosen)
        case "unicode":
            named = plan_of([2] * 7, 3, image=shape, encoding=chosen)
            return replace(named, classes=UNICODE)
        case "1,000 classes":
            return plan_of([1] * 1_000, 2, image=shape, encoding=chosen)
    return plan_of([6, 0, 5], 3, classes=3, image=shape, encoding=chosen)


CASES = [
    pytest.param(plan("three", encoding, channels), id=f"{encoding.format}-{channels}")
    for encoding in (Png(), Webp(), Jpeg())
    for channels in (1, 3, 4)
    if channels in encoding.modes
] + [pytest.param(plan(kind), id=kind) for kind in ("one class", "unicode", "1,000 classes")]


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    return make(request.param, tmp_path / "objects")


every_case = pytest.mark.parametrize("made", CASES, indirect=True)


@every_case
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its open files
def test_webdataset_reads_every_sample_in_order(made: Made, tmp_path: Path) -> None:
    import webdataset

    folder = unpacked(made.export("webdataset"), tmp_path / "out")
    urls = sorted(str(path) for path in folder.glob("*.tar"))
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    extension = made.plan.encoding.extension
    assert [int(sample["__key__"]) for sample in read] == list(range(made.plan.samples))
    assert [int(sample["cls"]) for sample in read] == made.labels
    for sample, found in zip(read, made.rows, strict=True):
        facts = json.loads(sample["json"])
        assert facts["class"] == made.plan.classes[int(sample["cls"])]
        assert facts["candidate"] == found.row.candidate
        assert hashlib.sha256(sample[extension]).hexdigest() == facts["file_sha256"]
        assert facts["pixel_sha256"] == found.row.pixel_sha256.hex()


@every_case
def test_load_dataset_reads_the_parquet_folder(made: Made, tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = unpacked(made.export("parquet"), tmp_path / "out")
    read = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert read.features["label"].names == list(made.plan.classes)
    assert read["label"] == made.labels
    assert read["index"] == list(range(made.plan.samples))
    first = np.asarray(read[0]["image"]).reshape(*made.pixels.shape[1:3], -1)
    assert np.array_equal(first, with_pillow(made.samples()[0].files[0]))


@every_case
def test_numpy_reads_the_arrays(made: Made) -> None:
    read = np.load(io.BytesIO(made.export("npz")), allow_pickle=False)
    assert read["labels"].tolist() == made.labels
    assert tuple(read["classes"].tolist()) == made.plan.classes
    assert read["images"].dtype == np.uint8
    assert read["images"].shape == made.pixels.shape
    if made.plan.encoding.lossless:
        assert np.array_equal(read["images"], made.pixels)


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("made", CASES[:1], indirect=True)
def test_checksums_fit_and_equal_samples_give_equal_bytes(
    made: Made, export: str, tmp_path: Path
) -> None:
    archive = made.export(export)
    folder = unpacked(archive, tmp_path / "out")
    run = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, check=True
    )
    listed = len(run.stdout.splitlines())
    assert listed == sum(path.is_file() for path in folder.rglob("*")) - 1
    document = json.loads((folder / "dataset.json").read_text())
    assert document["layout"] == export
    assert document["samples_per_class"] == made.plan.samples_per_class
    assert made.export(export) == archive


def test_files_are_cut_by_number_of_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.datasets.exports.formats.SAMPLES_A_FILE", 4)
    made = make(plan("three"), tmp_path / "objects")
    tars = unpacked(made.export("webdataset"), tmp_path / "tars")
    index = json.loads((tars / "index.json").read_text())
    assert [file["nsamples"] for file in index["shardlist"]] == [4, 4, 3]
    for file in index["shardlist"]:
        with tarfile.open(tars / file["url"]) as opened:
            assert len(opened.getnames()) == 3 * file["nsamples"]
        assert (tars / file["url"]).stat().st_size == file["filesize"]
    tables = unpacked(made.export("parquet"), tmp_path / "tables")
    assert sorted(path.name for path in tables.glob("data/*")) == [
        f"train-0000{number}-of-00003.parquet" for number in range(3)
    ]


def test_headers_are_those_that_tarfile_writes() -> None:
    names = ["a.png", "000000001.json", "x" * 100]
    contents = [b"", b"1" * 512, b"2" * 513]
    ours = members(names, contents) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(ours)) as opened:
        for name, content in zip(names, contents, strict=True):
            member = opened.getmember(name)
            assert (member.mode, member.mtime, member.uid) == (0o644, 0, 0)
            read = opened.extractfile(member)
            assert read is not None
            assert read.read() == content
        theirs = [entry.tobuf(tarfile.USTAR_FORMAT) for entry in opened.getmembers()]
    checksums = [header[148:156] for header in theirs]
    assert [bytes(header[148:156]) for header in headers(names, [0, 512, 513])] == checksums


@pytest.mark.parametrize("size", [1 << 33, 1 << 40])
def test_a_file_that_a_header_cannot_hold_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="8 GiB"):
        headers(["big.tar"], [size])


@pytest.mark.parametrize("made", CASES[:1], indirect=True)
def test_a_changed_shard_and_missing_rows_are_said(made: Made) -> None:
    wrong = [ShardFile(made.shards[0].object_key, "0" * 64)]
    with pytest.raises(DamagedShardError, match="has changed"):
        list(stored(made.plan, wrong, made.read_rows, made.storage))

    def one_less(after: int, limit: int) -> list[StoredRow]:
        return list(made.read_rows(after, limit))[1:]

    with pytest.raises(DamagedShardError, match="Rows of the manifest are missing"):
        list(stored(made.plan, made.shards, one_less, made.storage))


def test_every_class_is_named_though_none_of_it_was_asked_for(tmp_path: Path) -> None:
    made = make(replace(plan("three"), seed=9), tmp_path / "objects")
    assert Counter(made.labels) == {0: 6, 2: 5}
    read = np.load(io.BytesIO(made.export("npz")), allow_pickle=False)
    assert read["classes"].tolist() == ["class-0", "class-1", "class-2"]


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("made", CASES[:1], indirect=True)
def test_verification_counts_the_labels_that_are_there(
    made: Made, export: str, tmp_path: Path
) -> None:
    folder = unpacked(made.export(export), tmp_path / "out")
    assert verify(folder).problems == []
    document = (folder / "dataset.json").read_text()
    spoilt = document.replace('"class-0": 6', '"class-0": 5').replace(
        '"samples": 11', '"samples": 10'
    )
    assert spoilt != document
    (folder / "dataset.json").write_text(spoilt)
    sums = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    digest = hashlib.sha256(spoilt.encode()).hexdigest()
    (folder / "SHA256SUMS").write_text("".join([*sums[:-1], f"{digest}  dataset.json\n"]))
    assert verify(folder).problems == [
        "Class class-0 has 6 images, not the 5 that dataset.json states."
    ]


@pytest.mark.parametrize(
    ("export", "name"),
    [("webdataset", "train-000000.tar"), ("parquet", "data/train-00000-of-00001.parquet")],
)
@pytest.mark.parametrize("made", CASES[:1], indirect=True)
def test_a_file_that_its_reader_cannot_read_is_named(
    made: Made, export: str, name: str, tmp_path: Path
) -> None:
    folder = unpacked(made.export(export), tmp_path / "out")
    (folder / name).write_bytes(b"no such file" * 60)
    problems = verify(folder).problems
    assert any("is not the file that SHA256SUMS lists" in problem for problem in problems)
    assert any("holds a file that can't be read" in problem for problem in problems)
