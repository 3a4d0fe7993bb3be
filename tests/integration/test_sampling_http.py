"""Truncation, psi and temperature on a real server: in jobs, direct samples and estimates."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from models.generator import as_tensor, draw
from models.latents import normal
from tests.harness import Server, rows_of, run_job
from tests.mapped_model import CLASSES, LATENT, mapped_model

BODY: dict[str, Any] = {"model": "fashion-cgan", "samples_per_class": {"bag": 9, "coat": 6}}
SAMPLING = {"truncation": 0.7, "temperature": 0.9}
NPZ = {"Accept": "application/x-npz"}


def ask(http: httpx.Client, body: dict[str, Any]) -> NDArray[np.uint8]:
    answer = http.post("/v1/samples", json=body, headers=NPZ)
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content)) as arrays:
        images: NDArray[np.uint8] = arrays["images"]
    return images


def test_a_job_and_direct_samples_are_truncated_alike_and_say_so(http: httpx.Client) -> None:
    body = BODY | {"seed": 5, "sampling": SAMPLING}
    job = run_job(http, body)
    archive = http.get(job["archives"][0]["url"]).content
    direct = http.post("/v1/samples", json=body, headers={"Accept": "application/zip"})
    assert direct.content == archive
    assert job["sampling"] == SAMPLING | {"psi": None}
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        assert json.loads(members.read("dataset.json"))["sampling"] == SAMPLING
    plain = run_job(http, BODY | {"seed": 5})
    assert plain["sampling"] is None
    hashes = [{row["pixel_sha256"] for row in rows_of(http, each)} for each in (job, plain)]
    assert hashes[0].isdisjoint(hashes[1])


def test_truncation_takes_variety_away(http: httpx.Client) -> None:
    body = {"model": "fashion-cgan", "samples_per_class": {"bag": 200}, "seed": 2}
    spread = [
        ask(http, body | {"sampling": {"truncation": t}}).astype(float).std(axis=0).mean()
        for t in (0.1, 0.7, 3.0)
    ]
    assert spread[0] < 0.5 * spread[1] < 0.5 * spread[2]


@pytest.fixture(scope="module")
def generator(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    spec, file, generator = mapped_model(tmp_path_factory.mktemp("mapped"))
    with server.client() as client:
        answer = client.post(
            "/v1/models",
            files={"weights": ("mapped.zip", file.read_bytes())},
            data={"accept_degenerate": "true"},
        )
    assert answer.status_code in (200, 201), answer.text
    assert answer.json()["sha256"] == spec.sha256
    return spec.sha256, generator


@pytest.mark.parametrize("psi", [0.0, 0.5])
def test_psi_is_what_the_generator_s_own_truncation_is(
    http: httpx.Client, generator: Any, psi: float
) -> None:
    sha256, network = generator
    body = {"model": "mapped", "samples_per_class": 4, "seed": 3, "sampling": {"psi": psi}}
    images = ask(http, body)
    with zipfile.ZipFile(
        io.BytesIO(http.get(run_job(http, body)["archives"][0]["url"]).content)
    ) as members:
        names = [name for name in members.namelist() if name.endswith(".png")]
    z = normal(seed=3, model=sha256, shard=0, first=0, count=12, size=LATENT)
    order = sorted(names, key=lambda name: Path(name).stem)
    labels = np.array([CLASSES.index(name.split("/")[0]) for name in order])
    wanted = draw(network, as_tensor(z), as_tensor(labels), psi).pixels.numpy()
    assert np.abs(images.astype(int) - wanted).max() <= 1  # rounding of another kind of batch
    if psi:
        assert len({image.tobytes() for image in images}) == 12


def test_estimates_take_it_and_bad_input_is_refused(http: httpx.Client) -> None:
    path = "/v1/jobs/estimate"
    assert http.post(path, json=BODY | {"sampling": SAMPLING}).status_code == 200
    for door in ("/v1/jobs", "/v1/samples", path):
        for asked in ({"psi": 0.5}, {"truncation": 0}, {"truncation": 9}, {"mood": 1}):
            answer = http.post(door, json=BODY | {"sampling": asked})
            assert answer.status_code == 422, answer.text
            assert answer.json()["type"] == "/problems/validation"
    assert "no mapping network" in http.post(path, json=BODY | {"sampling": {"psi": 1}}).text


def test_pilots_draw_what_the_job_would(http: httpx.Client) -> None:
    asked = {"model": "fashion-gan", "samples_per_class": 5, "labelled_by": "fashion-classifier"}
    path = "/v1/jobs/estimate"
    plain, truncated = (
        http.post(path, json=asked | {"sampling": sampling}).json()["labelling"]
        for sampling in (None, {"truncation": 0.3})
    )
    assert plain["candidates_per_class"] != truncated["candidates_per_class"]
