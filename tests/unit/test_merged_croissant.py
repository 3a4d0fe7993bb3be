"""What the Croissant document of a merged dataset says of both parts."""

from __future__ import annotations

from typing import Any

import pytest

from app.datasets.croissant import croissant
from app.datasets.exports.parquet_dataset import data_files
from tests import made_corpora as corpora
from tests import made_merges as made
from tests.made_croissants import story


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    upload = tmp_path_factory.mktemp("merged") / "upload"
    images = corpora.splits(1, ("train", "validation", "test"))
    upload.write_bytes(made.content_of("class-folders", images))
    plan = made.planned(upload)
    archives = {"imagefolder": b"", "parquet": b""}
    return croissant(plan, story(archives, "MIT", data_files(plan, 4)))


def record_set(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    [found] = [each for each in document["recordSet"] if each["@id"] == name]
    return list(found["data"])


def test_licence_and_attribution_are_those_of_both(document: dict[str, Any]) -> None:
    assert document["license"] == ["https://spdx.org/licenses/MIT", "CC BY 4.0"]
    synthetic, real = record_set(document, "origins")
    assert (synthetic["origins/name"], synthetic["origins/license"]) == ("synthetic", "MIT")
    assert synthetic["origins/attribution"] == "maker@1.0"
    assert (real["origins/name"], real["origins/license"]) == ("real", "CC BY 4.0")
    assert real["origins/attribution"] == "Ünï 類, *2026*"
    assert (synthetic["origins/images"], real["origins/images"]) == (made.SAMPLES, 45)
    assert "45 real images of the dataset pets" in document["description"]


def test_each_part_says_what_it_was_derived_from(document: dict[str, Any]) -> None:
    model, dataset = document["prov:wasDerivedFrom"]
    assert (model["prov:label"], dataset["prov:label"]) == ("maker@1.0", "pets")
    assert dataset["prov:wasAttributedTo"]["prov:label"] == "Ünï 類, *2026*"
    of = {"synthetic": model["@id"], "real": dataset["@id"]}
    for row in record_set(document, "origins"):
        assert row["origins/derived_from"] == [of[row["origins/name"]]]
    parts = {
        file["@id"]: file["prov:wasDerivedFrom"]
        for file in document["distribution"]
        if file["@id"].endswith(".parquet")
    }
    assert list(parts) == [
        f"data/{split}-{number:05d}-of-{count:05d}.parquet"
        for split, count in (("train", 6), ("validation", 4), ("test", 4))
        for number in range(count)
    ]
    synthetic = [name for name, origin in parts.items() if origin == [{"@id": of["synthetic"]}]]
    assert synthetic == [f"data/train-0000{number}-of-00006.parquet" for number in range(2)]
    real = [origin for name, origin in parts.items() if name not in synthetic]
    assert real == [[{"@id": of["real"]}]] * 12


def test_splits_and_classes_are_counted(document: dict[str, Any]) -> None:
    assert [tuple(row.values()) for row in record_set(document, "splits")] == [
        ("train", "cr:TrainingSplit"),
        ("validation", "cr:ValidationSplit"),
        ("test", "cr:TestSplit"),
    ]
    rows = record_set(document, "classes")
    assert {r["classes/name"]: (r["classes/samples"], r["classes/real"]) for r in rows} == {
        "ape": (0, 15), "bee": (4, 15), "Äxt 類": (0, 15), "new": (3, 0)
    }  # fmt: skip


def test_of_real_images_nothing_is_said_that_is_not_known(document: dict[str, Any]) -> None:
    assert "how those were collected is for their source to say" in document["rai:dataCollection"]
    for name in ("rai:personalSensitiveInformation", "rai:dataCollectionType"):
        assert name not in document
