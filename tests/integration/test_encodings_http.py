"""Jobs and waiting requests whose images are not PNG, from the request to a checked folder."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pyarrow import parquet

from app.datasets.unpack import unpack
from app.datasets.verify import verify
from tests.harness import Server, rows_of, run_job, serving
from tests.image_readers import with_pillow

BODY: dict[str, Any] = {
    "model": "fashion-cgan",
    "samples_per_class": {"bag": 6, "coat": 4},
    "seed": 3,
}
PARQUET = "application/vnd.apache.parquet"
ENCODINGS: dict[str, Any] = {
    "webp": "webp",
    "lossy webp": {"format": "webp", "quality": 60},
    "jpeg": {"format": "jpeg", "quality": 90},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("encodings"), shard_samples=5) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        yield made


@pytest.fixture(scope="module")
def plain(client: httpx.Client) -> list[dict[str, Any]]:
    """The manifest of the same job with PNG files."""
    return rows_of(client, run_job(client, BODY))


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_job_delivers_the_files_it_was_asked_for(
    client: httpx.Client, plain: list[dict[str, Any]], name: str, tmp_path: Path
) -> None:
    job = run_job(client, BODY | {"encoding": ENCODINGS[name]})
    kind = job["encoding"]["format"]
    (tmp_path / "a.zip").write_bytes(client.get(job["archives"][0]["url"]).content)
    unpack(tmp_path / "a.zip", tmp_path / "out")
    found = verify(tmp_path / "out")
    assert (found.problems, found.images) == ([], 10)
    rows = rows_of(client, job)
    assert [row["pixel_sha256"] for row in rows] == [row["pixel_sha256"] for row in plain]
    for row in rows:
        payload = (tmp_path / "out" / row["file"]).read_bytes()
        assert (len(payload), hashlib.sha256(payload).hexdigest()) == (
            row["bytes"],
            row["file_sha256"],
        )
        assert Image.open(io.BytesIO(payload)).format == kind.upper()
        decoded = with_pillow(payload)[..., :1]
        same = hashlib.sha256(decoded.tobytes()).hexdigest() == row["pixel_sha256"]
        assert same == (name == "webp"), "only a lossless file decodes to the generator's pixels"


@pytest.mark.parametrize("name", ENCODINGS)
def test_looking_before_the_download(client: httpx.Client, name: str) -> None:
    job = run_job(client, BODY | {"encoding": ENCODINGS[name]})
    sample = client.get(f"/v1/jobs/{job['id']}/samples/0")
    assert sample.headers["content-type"] == f"image/{job['encoding']['format']}"
    assert with_pillow(sample.content).shape[:2] == (28, 28)
    sheet = client.get(f"/v1/jobs/{job['id']}/preview.png")
    assert Image.open(io.BytesIO(sheet.content)).format == "PNG"


@pytest.mark.parametrize("name", ENCODINGS)
def test_samples_at_once_are_those_of_the_job(client: httpx.Client, name: str) -> None:
    body = BODY | {"encoding": ENCODINGS[name]}
    answer = client.post("/v1/samples", json=body, headers={"Accept": "application/zip"})
    job = run_job(client, body)
    assert answer.content == client.get(job["archives"][0]["url"]).content


def test_parquet_holds_the_files_of_the_zip(client: httpx.Client) -> None:
    for encoding in ("png", *ENCODINGS.values()):
        body = BODY | {"encoding": encoding}
        answers = [
            client.post("/v1/samples", json=body, headers={"Accept": accept})
            for accept in (PARQUET, PARQUET, "application/zip")
        ]
        assert answers[0].headers["content-type"] == PARQUET
        assert answers[0].content == answers[1].content
        rows = parquet.read_table(io.BytesIO(answers[0].content)).to_pylist()
        with zipfile.ZipFile(io.BytesIO(answers[2].content)) as archive:
            assert len(rows) == 10
            for row in rows:
                assert archive.read(row["image"]["path"]) == row["image"]["bytes"]
                assert row["image"]["path"].startswith(row["class"])


def test_the_estimate_knows_that_jpeg_is_not_png(client: httpx.Client, plain: object) -> None:
    like = client.post("/v1/jobs/estimate", json=BODY).json()
    unlike = client.post(
        "/v1/jobs/estimate", json=BODY | {"encoding": {"format": "jpeg", "quality": 41}}
    ).json()
    assert like["basis"].startswith("measured")
    assert unlike["basis"].startswith("raw pixels")


@pytest.mark.parametrize(
    "encoding", ["gif", {"format": "jpeg", "quality": 101}, {"format": "png", "quality": 9}, 7]
)
def test_another_encoding_is_a_problem_that_names_the_place(
    client: httpx.Client, encoding: Any
) -> None:
    for path in ("/v1/jobs", "/v1/jobs/estimate", "/v1/samples"):
        answer = client.post(path, json=BODY | {"encoding": encoding})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert "encoding" in answer.text
