"""A real dataset beside the samples of a job: refused at the door, or balanced in the end."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from app.cli.main import app
from app.datasets.unpack import unpack
from app.datasets.verify import verify
from tests import made_corpora as made
from tests.harness import Server, rows_of, run_job
from tests.service import Service

COUNTS = {"sandal": 40, "bag": 12, "cape": 40}
"""Training images of each class; the model draws no cape."""
TEST = 5
FORMATS = ["imagefolder", "webdataset", "parquet", "npz"]


def folders(
    counts: dict[str, int] = COUNTS, shape: tuple[int, int, int] = (28, 28, 1), seed: int = 0
) -> dict[str, bytes]:
    """Class folders of noise, with a test split."""
    stream = np.random.default_rng(seed)
    return {
        f"{split}/{name}/{number:03d}.png": made.png(stream.integers(0, 256, shape, np.uint8))
        for name, train in counts.items()
        for split, count in (("train", train), ("test", TEST))
        for number in range(count)
    }


def upload(http: Any, files: dict[str, bytes], name: str, **fields: str) -> str:
    answer = http.post(
        "/v1/datasets", files={"file": ("data", made.zipped(files))}, data={"name": name, **fields}
    )
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def asked(dataset: str, **fields: Any) -> dict[str, Any]:
    return {
        "model": "fashion-cgan",
        "samples_per_class": {"bag": 3},
        "merge_with": dataset,
        "seed": 5,
        **fields,
    }


@pytest.mark.parametrize(
    ("name", "files", "fields", "sentence"),
    [
        (
            "strange",
            folders({"cat": 2, "dog": 2}),
            {},
            "no class in common with the dataset strange. They are of: 'bag'. It has: 'cat', 'dog'",
        ),
        (
            "shouted",
            folders({"BAG": 2, "cat": 2}),
            {},
            "The class 'bag' of the samples is 'BAG' in the dataset shouted.",
        ),
        (
            "large",
            folders({"bag": 2}, (32, 30, 3)),
            {},
            "are 32 x 30 with 3 channels; the models draw 28 x 28 with 1 channel.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(
    service: Service, name: str, files: dict[str, bytes], fields: dict[str, Any], sentence: str
) -> None:
    dataset = upload(service.client, files, name)
    before = service.traces()
    for path in ("/v1/jobs", "/v1/jobs/estimate"):
        answer = service.client.post(path, json=asked(dataset, **fields))
        assert answer.status_code == 422
        assert answer.json()["type"] == "/problems/not-mergeable"
        assert sentence in answer.json()["detail"]
    assert service.traces() == before


def test_a_class_map_is_the_way_out(service: Service) -> None:
    dataset = upload(service.client, folders({"Tasche": 2, "Hut": 3}, seed=1), "german")
    model = {"model": "fashion-cgan", "class_map": {"bag": "Tasche"}}
    body = asked(dataset, models=[model], samples_per_class={"Tasche": 4}) | {"model": None}
    answer = service.client.post("/v1/jobs/estimate", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["merged"] == {
        "train": {"Hut": 3, "Tasche": 6}, "test": {"Hut": TEST, "Tasche": TEST}
    }  # fmt: skip


def test_a_dataset_stays_while_a_job_is_merged_with_it(service: Service) -> None:
    dataset = upload(service.client, folders(seed=2), "kept", licence="MIT")
    job = service.client.post("/v1/jobs", json=asked("kept")).json()
    assert job["merged_with"]["train"]["bag"] == {"real": 12, "synthetic": 3, "together": 15}
    refused = service.client.delete(f"/v1/datasets/{dataset}")
    assert refused.status_code == 409
    assert refused.json()["runs"] == [job["id"]]
    service.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert service.client.delete(f"/v1/datasets/{dataset}").status_code == 204


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/estimate"])
def test_a_dataset_that_is_not_there(service: Service, path: str) -> None:
    answer = service.client.post(path, json=asked("ds_none"))
    assert answer.json()["type"] == "/problems/unknown-dataset"


def test_a_small_batch_is_merged_with_nothing(service: Service) -> None:
    answer = service.client.post("/v1/samples", json=asked("any"))
    assert answer.status_code == 422
    assert "Only a job can be merged" in answer.json()["detail"]


# The main use: a dataset is balanced, and comes back whole


@pytest.fixture(scope="module")
def job(server: Server) -> dict[str, Any]:
    with server.client() as http:
        dataset = upload(http, folders(seed=3), "short", licence="CC0", attribution="Nobody")
        body = {
            "model": "fashion-cgan",
            "balance": {"dataset": dataset},
            "merge_with": dataset,
            "seed": 5,
            "formats": FORMATS,
        }
        return run_job(http, body)


def archive(http: httpx.Client, job: dict[str, Any], name: str, folder: Path) -> Path:
    (url,) = [each["url"] for each in job["archives"] if each["format"] == name]
    path = folder / f"{name}.zip"
    path.write_bytes(http.get(url).content)
    unpack(path, folder / name)
    return folder / name


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_of_both(
    http: httpx.Client, job: dict[str, Any], name: str, tmp_path: Path
) -> None:
    found = verify(archive(http, job, name, tmp_path))
    assert found.problems == []
    assert found.delivered == {"bag": 28}
    assert found.real == {
        "train": COUNTS, "test": dict.fromkeys(COUNTS, TEST)
    }  # fmt: skip


def test_croissant_describes_both(http: httpx.Client, job: dict[str, Any]) -> None:
    document = http.get(job["links"]["croissant"]).json()
    assert document["license"] == ["https://spdx.org/licenses/Apache-2.0", "CC0"]
    [origins] = [each for each in document["recordSet"] if each["@id"] == "origins"]
    assert [(row["origins/name"], row["origins/images"]) for row in origins["data"]] == [
        ("synthetic", 28), ("real", 92 + 3 * TEST)
    ]  # fmt: skip
    files = {file["@id"] for file in document["distribution"]}
    assert {f"{name}.zip" for name in FORMATS[:3]} < files
    assert {name for name in files if name.endswith(".parquet")} == {
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/test-00000-of-00001.parquet",
    }


def test_the_merged_classes_are_equal(
    http: httpx.Client, job: dict[str, Any], tmp_path: Path
) -> None:
    from datasets import load_dataset

    folder = archive(http, job, "imagefolder", tmp_path)
    for path, content in folders(seed=3).items():
        assert (folder / path).read_bytes() == content
    read = load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    names = read["train"].features["label"].names
    train = Counter(names[label] for label in read["train"]["label"])
    assert train == dict.fromkeys(COUNTS, 40)
    assert Counter(read["test"]["label"]) == dict.fromkeys(range(3), TEST)


def test_the_manifest_has_both(http: httpx.Client, job: dict[str, Any]) -> None:
    rows = rows_of(http, job)
    real = [row for row in rows if row["origin"] == "real"]
    assert [row["index"] for row in rows] == list(range(28 + 92 + 15))
    assert Counter((row["split"], row["class"]) for row in real) == {
        **{("train", name): count for name, count in COUNTS.items()},
        **{("test", name): TEST for name in COUNTS},
    }
    assert {row["model"] for row in real} == {None}
    assert {row["source"] for row in real} == set(folders(seed=3))
    lines = http.get(f"{job['links']['manifest']}.ndjson").text.splitlines()
    assert [json.loads(line) for line in lines] == rows
    table = parquet.read_table(io.BytesIO(http.get(f"{job['links']['manifest']}.parquet").content))
    assert table.column("origin").to_pylist() == [row["origin"] for row in rows]
    page = http.get(job["links"]["manifest"], params={"class": "cape", "limit": 1000}).json()
    assert page["samples"] == [row for row in rows if row["class"] == "cape"]


def test_the_archive_is_that_of_the_manifest(
    http: httpx.Client, job: dict[str, Any], tmp_path: Path
) -> None:
    folder = archive(http, job, "imagefolder", tmp_path)
    manifest = tmp_path / "manifest.ndjson"
    manifest.write_bytes(http.get(f"{job['links']['manifest']}.ndjson").content)
    assert verify(folder, manifest=manifest).problems == []
    (folder / "test" / "cape" / "000.png").unlink()
    problems = verify(folder, manifest=manifest).problems
    assert "test/cape/000.png is listed in the manifest but missing." in problems


def test_the_report_shows_before_and_after(http: httpx.Client, job: dict[str, Any]) -> None:
    part = http.get(job["report"]["json_url"]).json()["job"]
    assert {row["name"]: (row["before"], row["after"]) for row in part["balance"]} == {
        "sandal": (40, 40), "bag": (12, 40), "cape": (40, 40)
    }  # fmt: skip
    assert part["merged_with"]["licence"] == "CC0"
    assert part["request"]["merge_with"] == "short"
    assert "Real images, and with the samples" in http.get(job["report"]["html_url"]).text


def test_the_rows_of_real_images_stay_when_the_job_is_swept(
    http: httpx.Client, server: Server, job: dict[str, Any]
) -> None:
    body = asked("short", seed=6)
    again = run_job(http, body)
    assert len(rows_of(http, again)) == 3 + 92 + 15
    kept = [path.name for path in (server.data_dir / "objects/jobs" / again["id"]).iterdir()]
    assert sum(name.startswith("real.") for name in kept) == 1


def test_from_the_shell(server: Server, tmp_path: Path) -> None:
    folder = made.to_folder(folders({"sandal": 9, "bag": 4}, seed=4), tmp_path / "My shoes")
    words = ["generate", "fashion-cgan", "--balance", folder, "--merge", folder, "--seed", "1"]
    where = ["--out", tmp_path / "out", "--server", server.url, "--api-key", server.key]
    result = CliRunner().invoke(app, [str(word) for word in (*words, *where)])
    assert result.exit_code == 0, result.output
    assert "my-shoes" in result.stderr
    found = verify(tmp_path / "out")
    assert found.delivered == {"bag": 5}
    assert found.real["train"] == {"sandal": 9, "bag": 4}
    with zipfile.ZipFile(io.BytesIO(made.zipped(folders({"sandal": 9, "bag": 4}, seed=4)))) as z:
        assert (tmp_path / "out/train/bag/000.png").read_bytes() == z.read("train/bag/000.png")
