"""The Croissant document, by MLCommons' own library: valid without a warning, and every record."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.datasets.croissant import croissant
from app.datasets.exports.parquet_dataset import DataFile
from app.jobs.encoding import Png, Webp
from app.jobs.plan import PlannedClassifier
from tests.builders import image, plan_of
from tests.made_croissants import load, story
from tests.made_exports import Made, make

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # open files
]
PARTS = [
    DataFile(f"data/train-0000{number}-of-00002.parquet", "train", "synthetic")
    for number in range(2)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    plan = plan_of([3, 2], 2, classes=3, image=image(9, 7, 3), marks=1)
    named = replace(plan, classes=("bag", "über/日本", "none of it"))
    return make(named, tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="module")
def archives(made: Made) -> dict[str, bytes]:
    built = {name: made.export(name) for name in ("webdataset", "npz")}
    tables = made.export({"type": "parquet", "shard_samples": 3})
    return {"imagefolder": made.folders(), "parquet": tables, **built}


@pytest.fixture(scope="module")
def document(made: Made, archives: dict[str, bytes]) -> dict[str, Any]:
    return croissant(made.plan, story(archives, parts=PARTS))


@pytest.fixture(scope="module")
def loaded(
    document: dict[str, Any], archives: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The dataset, with its archives downloaded."""
    return load(document, archives, tmp_path_factory.mktemp("croissant"))


def test_the_validator_has_nothing_to_say(loaded: Any) -> None:
    issues = loaded.metadata.ctx.issues
    assert issues.errors == set()
    assert issues.warnings == set()
    assert issues.report() == ""
    assert loaded.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_every_image_of_the_class_folders_is_a_record(
    loaded: Any, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    records = {int(record["images/index"]): record for record in loaded.records("images")}
    assert sorted(records) == list(range(made.plan.samples))
    folders = {"bag": 0, "über%2F日本": 1}
    for index, record in records.items():
        assert folders[text(record["images/class"])] == made.labels[index]
        assert np.array_equal(np.asarray(record["images/image"]), made.pixels[index])
    assert caplog.messages == []


def test_every_row_of_the_tables_is_a_record(
    loaded: Any, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    records = [
        {column.partition("/")[2]: value for column, value in record.items()}
        for name in ("samples", "samples-1")
        for record in loaded.records(name)
    ]
    assert [int(record["index"]) for record in records] == list(range(made.plan.samples))
    for record, label, pixels in zip(records, made.labels, made.pixels, strict=True):
        assert int(record["label"]) == label
        assert text(record["class"]) == made.plan.classes[label]
        assert np.array_equal(np.asarray(record["image"]), pixels)
    assert caplog.messages == []


def test_classes_and_splits_are_record_sets(loaded: Any) -> None:
    rows = [(text(r["classes/name"]), int(r["classes/samples"])) for r in loaded.records("classes")]
    assert rows == [("bag", 3), ("über/日本", 2), ("none of it", 0)]
    (split,) = loaded.records("splits")
    assert text(split["splits/name"]) == "train"


# What the library keeps without a look at it


def test_what_made_it_is_said_in_the_words_of_prov(document: dict[str, Any], made: Made) -> None:
    assert document["@context"]["prov"] == "http://www.w3.org/ns/prov#"
    activity = document["prov:wasGeneratedBy"]
    assert activity["@type"] == "prov:Activity"
    assert activity["prov:startedAtTime"] == "2026-03-01T12:00:05Z"
    assert activity["prov:endedAtTime"] == "2026-03-01T12:01:07Z"
    assert "job_1" in activity["prov:label"]
    assert document["prov:wasAttributedTo"]["@type"] == "prov:Agent"
    (model,) = document["prov:wasDerivedFrom"]
    assert model["@id"] == f"urn:sha256:{made.plan.models[0].sha256}"
    assert model["prov:label"] == made.plan.models[0].ref


def test_what_was_measured_is_said_in_the_words_of_rai(document: dict[str, Any]) -> None:
    assert "http://mlcommons.org/croissant/RAI/1.0" in document["conformsTo"]
    assert "label_agreement: 0.97, measured on 200 samples." in document["rai:dataBiases"]
    assert "Good enough." in document["rai:dataLimitations"]
    assert "rai:machineAnnotationTools" not in document
    plan = plan_of([3], 1, labelled_by=PlannedClassifier("judge", "2.0", "cd" * 32, 0.5))
    labelled = croissant(plan, story({}))
    assert labelled["rai:machineAnnotationTools"] == ["judge@2.0"]


def test_files_have_their_hashes_and_sizes(
    document: dict[str, Any], archives: dict[str, bytes]
) -> None:
    files = [file for file in document["distribution"] if "sha256" in file]
    assert len(files) == len(archives)
    for file in files:
        content = archives[file["@id"].partition(".")[0]]
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["contentSize"] == f"{len(content)} B"
        assert file["contentUrl"].startswith(document["url"])


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("MIT", "https://spdx.org/licenses/MIT"),
        ("CC-BY-4.0", "https://spdx.org/licenses/CC-BY-4.0"),
        ("unknown", "unknown"),
        ("my own terms", "my own terms"),
    ],
)
def test_a_licence_is_an_address_where_it_has_one(licence: str, said: str) -> None:
    assert croissant(plan_of([3], 1), story({}, licence))["license"] == [said]


def test_required_members_are_there_and_dates_are_of_the_job(document: dict[str, Any]) -> None:
    required = ("name", "description", "license", "url", "creator", "datePublished", "version")
    assert all(document[name] for name in required)
    assert document["datePublished"] == "2026-03-01"
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["version"])


@pytest.mark.parametrize("encoding", [Png(), Webp()], ids=repr)
def test_file_sets_say_what_the_files_are(encoding: Any, tmp_path: Path) -> None:
    plan = plan_of([3], 1, encoding=encoding)
    document = croissant(plan, story({"imagefolder": b""}))
    (files,) = [entry for entry in document["distribution"] if entry["@type"] == "cr:FileSet"]
    assert files["encodingFormat"] == encoding.media_type
    assert files["includes"] == f"*/*.{encoding.extension}"
