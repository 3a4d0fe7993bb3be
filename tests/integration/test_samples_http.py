"""`POST /v1/samples`: the images of a job, at once, in several forms."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.settings import Settings
from tests.harness import Server, run_job, serving
from tests.service import opened

MODEL = "fashion-cgan"
BODY: dict[str, Any] = {"model": MODEL, "samples_per_class": {"bag": 11, "coat": 7}, "seed": 41}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("samples"), sync_waiting_samples=600) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        yield made


def test_the_zip_is_the_archive_of_a_job_to_the_byte(client: httpx.Client) -> None:
    answer = _ask(client, "application/zip")
    job = run_job(client, BODY)
    archive = client.get(job["archives"][0]["url"])
    assert answer.content == archive.content
    assert answer.headers["synthloom-seed"] == "41"


def test_every_form_holds_the_same_images(client: httpx.Client) -> None:
    with zipfile.ZipFile(io.BytesIO(_ask(client, "application/zip").content)) as archive:
        members = {int(Path(name).stem): (name.split("/")[0], archive.read(name))
                   for name in archive.namelist() if name.endswith(".png")}  # fmt: skip
    named = [members[index] for index in range(18)]
    pixels = [np.asarray(Image.open(io.BytesIO(content))) for _, content in named]

    with np.load(io.BytesIO(_ask(client, "application/x-npz").content)) as arrays:
        assert arrays["images"].dtype == np.uint8
        assert (arrays["images"][..., 0] == np.stack(pixels)).all()
        found = [str(arrays["classes"][label]) for label in arrays["labels"]]
    assert found == [name for name, _ in named]

    document = json.loads(_ask(client, "application/json").content)
    assert [sample["class"] for sample in document["samples"]] == found
    assert [base64.b64decode(sample["png"]) for sample in document["samples"]] == [
        content for _, content in named
    ]

    grid = Image.open(io.BytesIO(_ask(client, "image/png").content))
    assert grid.format == "PNG"
    assert grid.width > 11 * 28


def test_an_unknown_form_is_not_acceptable_and_the_default_is_a_zip(client: httpx.Client) -> None:
    refused = client.post("/v1/samples", json=BODY, headers={"Accept": "text/csv"})
    assert (refused.status_code, refused.json()["type"]) == (406, "/problems/not-acceptable")
    assert _ask(client, "*/*").headers["content-type"] == "application/zip"


def test_too_many_for_one_answer_says_how_to_get_them(client: httpx.Client) -> None:
    refused = client.post("/v1/samples", json={"model": MODEL, "samples_per_class": 410})
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/job-too-large")
    assert "POST /v1/jobs" in refused.json()["detail"]


def test_who_asks_at_the_same_time_gets_what_he_would_get_alone(client: httpx.Client) -> None:
    bodies = [BODY | {"seed": seed} for seed in range(12)]
    alone = [_ask(client, "application/x-npz", body).content for body in bodies]
    with ThreadPoolExecutor(len(bodies)) as callers:
        together = list(
            callers.map(lambda body: _ask(client, "application/x-npz", body).content, bodies)
        )
    assert together == alone


def test_a_request_that_is_known_but_for_its_seed_gives_what_a_new_one_gives(
    client: httpx.Client,
) -> None:
    known = [_ask(client, "application/x-npz", BODY | {"seed": seed}) for seed in (1, 2, 1)]
    assert known[0].content == known[2].content != known[1].content
    assert [answer.headers["synthloom-seed"] for answer in known] == ["1", "2", "1"]
    other = BODY | {"seed": 2, "marked": True}  # the same in other words
    assert _ask(client, "application/x-npz", other).content == known[1].content
    for seed in (-1, 2**53, 1.0, True, "1"):
        refused = client.post("/v1/samples", json=BODY | {"seed": seed})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/validation")


def test_a_body_in_pieces_is_answered_alike(client: httpx.Client) -> None:
    """It has no length, so it goes through FastAPI's own route."""
    headers = {"Accept": "application/x-npz", "Content-Type": "application/json"}
    pieces = iter([json.dumps(BODY).encode()])
    answer = client.post("/v1/samples", content=pieces, headers=headers, timeout=120)
    assert answer.content == _ask(client, "application/x-npz").content


def test_more_than_the_queue_takes_is_told_to_come_again(client: httpx.Client) -> None:
    body = {"model": MODEL, "samples_per_class": 25}
    with ThreadPoolExecutor(12) as callers:
        answers = list(
            callers.map(lambda _: client.post("/v1/samples", json=body, timeout=120), range(12))
        )
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) < len(answers)
    for answer in refused:
        assert (answer.status_code, answer.json()["type"]) == (429, "/problems/overloaded")
        assert int(answer.headers["retry-after"]) >= 1
    assert _ask(client, "application/json").status_code == 200


def test_without_a_worker_the_answer_says_so(tmp_path: Path) -> None:
    with opened(Settings(data_dir=tmp_path, workers=0, _env_file=None)) as service:
        refused = service.client.post("/v1/samples", json=BODY)
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
        assert int(refused.headers["retry-after"]) >= 1


def test_nobody_else_may_ask_a_worker(server: Server) -> None:
    [path] = (server.data_dir / "run").glob("*.sock")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as stranger:
        answer = stranger.post("http://worker/generate", content=b"x")
    assert answer.status_code == 401


def _ask(client: httpx.Client, accept: str, body: dict[str, Any] = BODY) -> httpx.Response:
    answer = client.post("/v1/samples", json=body, headers={"Accept": accept}, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer
