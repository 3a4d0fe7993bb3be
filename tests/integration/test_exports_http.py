"""One job in every format over HTTP: each archive verified, each with the same samples."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.datasets.unpack import unpack
from app.datasets.verify import verify
from tests.builders import REQUEST
from tests.harness import Server, run_job, submit

FORMATS = ["imagefolder", "webdataset", "parquet", "npz"]


@pytest.fixture(scope="module")
def job(server: Server) -> dict[str, Any]:
    with server.client() as http:
        return run_job(http, {**REQUEST, "formats": FORMATS})


def test_archives_come_in_the_order_asked_for_and_each_once(http: httpx.Client) -> None:
    job = submit(http, {**REQUEST, "formats": ["npz", "imagefolder", "npz"]})
    assert job["formats"] == ["npz", "imagefolder"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_holds_what_was_asked_for(
    http: httpx.Client, job: dict[str, Any], name: str, tmp_path: Path
) -> None:
    (listed,) = [archive for archive in job["archives"] if archive["format"] == name]
    answer = http.get(listed["url"])
    assert answer.status_code == 200
    kind = "application/x-npz" if name == "npz" else "application/zip"
    assert answer.headers["content-type"] == kind
    assert answer.headers["etag"] == f'"sha256-{listed["sha256"]}"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as opened:
        assert len(opened.namelist()) == listed["entries"]
    archive = tmp_path / "archive"
    archive.write_bytes(answer.content)
    unpack(archive, tmp_path / "folder")
    for path in (archive, tmp_path / "folder"):
        found = verify(path)
        assert found.problems == []
        assert found.delivered == REQUEST["samples_per_class"]
        assert found.images == sum(REQUEST["samples_per_class"].values())


def test_every_format_has_the_same_samples(
    http: httpx.Client, job: dict[str, Any], tmp_path: Path
) -> None:
    from datasets import load_dataset

    urls = {archive["format"]: archive["url"] for archive in job["archives"]}
    for name in ("imagefolder", "parquet"):
        (tmp_path / f"{name}.zip").write_bytes(http.get(urls[name]).content)
        unpack(tmp_path / f"{name}.zip", tmp_path / name)
    read = load_dataset(str(tmp_path / "parquet"), split="train", cache_dir=str(tmp_path / "c"))
    names = read.features["label"].names
    assert Counter(names[label] for label in read["label"]) == REQUEST["samples_per_class"]
    stored = read.data.column("image").to_pylist()
    for image in stored[:20]:
        assert (tmp_path / "imagefolder" / image["path"]).read_bytes() == image["bytes"]


def test_a_server_without_a_certificate_says_what_to_set(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json={**REQUEST, "c2pa": True})
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/signing-not-set-up"
    assert "SYNTHLOOM_C2PA_CERTIFICATE" in answer.json()["detail"]
    answer = http.post("/v1/samples", json={**REQUEST, "c2pa": True})
    assert answer.status_code == 422
    assert '"c2pa"' in answer.json()["detail"]
