"""Exports, read by what trainers read them with: every sample, its label, its pixels."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pydantic
import pytest
from torchvision.datasets import ImageFolder

from app.cli.failures import CommandError
from app.cli.readers import read_by_readers
from app.datasets.exports.content import ShardFile, stored
from app.datasets.exports.ustar import headers, members
from app.datasets.manifest import Manifest, Records, Rows, Transaction, as_records
from app.datasets.verify import verify
from app.db.tables import Job
from app.errors import DamagedShardError, ValidationError
from app.jobs.encoding import Encoding, Jpeg, Png, Webp
from app.jobs.formats import Kept, format_of, kept
from app.jobs.plan import Plan
from app.jobs.request import JobRequest
from tests.builders import image, plan_of, planned
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


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"shard_samples": 3}, [3, 3, 3, 2]),
        ({"shard_samples": 1}, [1] * 11),
        ({"shard_samples": 11}, [11]),
        ({"shard_samples": 1_000}, [11]),
        ({"shard_bytes": 65_536}, None),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tar_files_are_as_large_as_asked_for(
    options: dict[str, int], counts: list[int] | None, tmp_path: Path
) -> None:
    import webdataset

    large = plan_of([40, 30], 3, image=image(40, 40, 3)) if counts is None else plan("three")
    made = make(large, tmp_path / "objects")
    folder = unpacked(made.export({"type": "webdataset", **options}), tmp_path / "out")
    listed = json.loads((folder / "index.json").read_text())["shardlist"]
    if counts is not None:
        assert [file["nsamples"] for file in listed] == counts
    else:  # as many as fit: the next sample would not have
        sizes = [(folder / file["url"]).stat().st_size for file in listed]
        assert len(sizes) > 2
        assert max(sizes) <= options["shard_bytes"]
        one = (sizes[0] - 1024) // listed[0]["nsamples"]
        assert all(size + one > options["shard_bytes"] for size in sizes[:-1])
    urls = [str(folder / file["url"]) for file in listed]
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert [int(sample["cls"]) for sample in read] == made.labels
    assert verify(folder).problems == []


def test_a_sample_larger_than_a_tar_file_may_be_has_one_of_its_own(tmp_path: Path) -> None:
    made = make(plan_of([3], 2, image=image(200, 200, 3)), tmp_path / "objects")
    archive = made.export({"type": "webdataset", "shard_bytes": 65_536})
    listed = json.loads((unpacked(archive, tmp_path / "out") / "index.json").read_text())
    assert [file["nsamples"] for file in listed["shardlist"]] == [1, 1, 1]


def test_parquet_files_are_as_large_as_asked_for(tmp_path: Path) -> None:
    from pyarrow import parquet

    made = make(plan("three"), tmp_path / "objects")
    folder = unpacked(made.export({"type": "parquet", "shard_samples": 4}), tmp_path / "out")
    files = sorted(folder.glob("data/*"))
    assert [parquet.read_metadata(file).num_rows for file in files] == [4, 4, 3]
    assert files[0].name == "train-00000-of-00003.parquet"
    assert verify(folder).problems == []


METADATA = [
    pytest.param(plan(kind, encoding), id=f"{kind}-{encoding.format}")
    for kind, encoding in (("three", Png()), ("unicode", Webp()), ("one class", Jpeg()))
]


@pytest.mark.parametrize("made", METADATA, indirect=True)
def test_class_folders_with_metadata_are_read_by_both_readers(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from datasets import load_dataset

    archive = made.folders(metadata=True)
    assert made.folders(metadata=True) == archive
    folder = unpacked(archive, tmp_path / "out")
    assert verify(folder).problems == []
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    read = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert caplog.messages == []
    by_index = sorted(read, key=lambda row: row["index"])
    assert [row["label"] for row in by_index] == made.labels
    assert [row["class"] for row in by_index] == [made.plan.classes[k] for k in made.labels]
    assert [row["pixel_sha256"] for row in by_index] == [
        found.row.pixel_sha256.hex() for found in made.rows
    ]
    first = np.asarray(by_index[0]["image"]).reshape(*made.pixels.shape[1:3], -1)
    assert np.array_equal(first, with_pillow(made.samples()[0].files[0]))
    folders = ImageFolder(folder)
    counts = Counter(folders.classes[label] for label in folders.targets)
    directories = json.loads((folder / "dataset.json").read_text())["directories"]
    assert counts == {directories[k]: n for k, n in made.plan.samples_per_class.items()}


@pytest.mark.parametrize("made", METADATA[:1], indirect=True)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_verification_asks_every_reader(made: Made, tmp_path: Path) -> None:
    archives = {"imagefolder": made.folders(metadata=True)}
    archives |= {export: made.export(export) for export in EXPORTS}
    found = {}
    for layout, archive in archives.items():
        path = tmp_path / f"{layout}.zip"
        path.write_bytes(archive)
        read = read_by_readers(path)
        assert all(one.samples_per_class == {"class-0": 6, "class-2": 5} for one in read)
        found[layout] = [one.reader for one in read]
    assert found == {
        "imagefolder": ["torchvision", "datasets"],
        "webdataset": ["webdataset"],
        "parquet": ["datasets"],
        "npz": ["numpy"],
    }


@pytest.mark.parametrize("made", METADATA[:1], indirect=True)
def test_a_reader_that_counts_otherwise_is_believed(made: Made, tmp_path: Path) -> None:
    folder = unpacked(made.folders(), tmp_path / "out")
    next((folder / "class-0").iterdir()).unlink()
    with pytest.raises(CommandError, match="torchvision counts"):
        read_by_readers(folder)


def test_class_folders_without_metadata_are_what_they_were(tmp_path: Path) -> None:
    made = make(plan("three"), tmp_path / "objects")
    names = {path.name for path in unpacked(made.folders(), tmp_path / "out").iterdir()}
    assert names == {"class-0", "class-2", "dataset.json", "SHA256SUMS"}


@pytest.mark.parametrize(
    ("formats", "sentence"),
    [
        (["webdataset", {"type": "webdataset", "shard_samples": 5}], "in two ways"),
        ([{"type": "webdataset", "shard_samples": 5, "shard_bytes": 1 << 20}], "not both"),
        ([{"type": "webdataset", "shard_samples": 0}], "greater than or equal to 1"),
        ([{"type": "webdataset", "shard_bytes": 100}], "greater than or equal to 65536"),
        ([{"type": "npz", "shard_samples": 5}], "Extra inputs"),
        ([{"type": "imagefolder", "metadata": "yes"}], "valid boolean"),
        ([{"type": "tar"}], "does not match any of the expected tags"),
    ],
)
def test_options_that_no_format_has_are_refused(formats: list[Any], sentence: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=sentence):
        JobRequest.model_validate({"model": "maker", "formats": formats})


def test_a_cut_into_too_many_files_is_refused() -> None:
    body = {
        "model": "maker",
        "samples_per_class": 100_000,
        "formats": [{"type": "webdataset", "shard_samples": 2}],
    }
    with pytest.raises(ValidationError, match='take "shard_samples" of 10 at least'):
        planned(body)


@pytest.mark.parametrize(
    "document",
    ["npz", "imagefolder", {"type": "parquet", "shard_samples": 7}],
)
def test_a_job_keeps_a_format_as_it_was_asked_for(document: Kept) -> None:
    assert kept(format_of(document)) == document


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
        list(stored(wrong, made.records(), made.storage))
    beyond = made.records()
    beyond[0]["length"][0] = 1 << 30
    with pytest.raises(DamagedShardError, match="bytes that a shard does not have"):
        list(stored(made.shards, beyond, made.storage))
    manifest = Manifest(Job(), made.plan, cast("Rows", OneLess(made)))
    with pytest.raises(DamagedShardError, match="Rows of the manifest are missing"):
        list(manifest.records(cast("Transaction", nullcontext), ["cell"]))


@dataclass
class OneLess:
    """Rows of which the last one is gone."""

    made: Made

    def records(self, session: Any, first: int, end: int, names: Sequence[str]) -> Records:
        every = as_records([found.row for found in self.made.rows])
        return every[first : min(end, len(every) - 1)][list(names)]


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
