"""Bring your own checkpoint: what is accepted serves, what is refused leaves nothing."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from models.checkpoint import load
from models.generator import sample
from models.latents import normal
from models.zoo.catalogue import shipped_model
from tests import strangers
from tests.harness import run_job
from tests.service import Service

Write = Callable[[dict[str, Tensor]], bytes]
FILES: dict[str, Write] = {
    "bare": strangers.bare,
    "wrapped": strangers.wrapped,
    "legacy": strangers.legacy,
    "safetensors": strangers.safetensors,
}


def upload(http: Any, content: bytes, path: str = "/v1/models", **fields: str) -> httpx.Response:
    answer: httpx.Response = http.post(
        path, files={"weights": ("weights.bin", content)}, data=fields
    )
    return answer


def spec(name: str, **changes: Any) -> str:
    return json.dumps(strangers.spec_of_decoder(name=name) | changes)


@pytest.mark.parametrize("kind", FILES)
def test_a_checkpoint_of_each_kind_serves_what_its_own_network_draws(
    http: httpx.Client, kind: str
) -> None:
    answer = upload(http, FILES[kind](strangers.state()), spec=spec(f"decoder-{kind}"))
    assert answer.status_code == 201, answer.text
    model = answer.json()
    assert http.get(answer.headers["location"]).json() == model
    assert model["warnings"] == []
    assert model["probe"]["findings"] == []
    body = {"model": model["name"], "samples_per_class": {"bee": 8}, "seed": 5}
    drawn = http.post("/v1/samples", json=body, headers={"Accept": "application/x-npz"})
    assert drawn.status_code == 200, drawn.text
    images = np.load(io.BytesIO(drawn.content))["images"]
    z = normal(seed=5, model=model["sha256"], shard=0, first=0, count=8, size=strangers.LATENT)
    with torch.no_grad():
        by_hand = strangers.Decoder()(torch.from_numpy(z), torch.full((8,), 1))
    wanted = (255 * by_hand).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(images.astype(int) - wanted).max() <= 1


ARTICLE = """
import sys
import torch
from safetensors.torch import load_file
from torch import nn

generator = nn.Sequential(
    nn.Linear(100, 128), nn.LeakyReLU(0.2),
    nn.Linear(128, 256), nn.LeakyReLU(0.2),
    nn.Linear(256, 512), nn.LeakyReLU(0.2),
    nn.Linear(512, 1024), nn.LeakyReLU(0.2),
    nn.Linear(1024, 784), nn.Tanh(),
)
trained = list(load_file(sys.argv[1]).values())
for layer in generator[::2]:
    layer.weight.data, layer.bias.data = (
        next(t.float() for t in trained if t.shape == shape)
        for shape in (layer.weight.shape, layer.bias.shape)
    )
torch.save(generator.state_dict(), sys.argv[2])
"""
"""A script as people write it; in place of its hours of training it takes weights of the zoo."""


def test_the_articles_network_comes_from_a_plain_script_and_serves(
    http: httpx.Client, tmp_path: Path
) -> None:
    trained = shipped_model("fashion-gan")
    path = tmp_path / "generator.pth"
    arguments = [sys.executable, "-c", ARTICLE, str(trained.weights_path), str(path)]
    subprocess.run(arguments, check=True)
    asked = upload(http, path.read_bytes(), name="article", licence="MIT")
    assert asked.status_code == 422
    unknowns = asked.json()["proposal"]["unknowns"]
    answers = {"output": "tanh, [-1, 1]", "activation": "leaky_relu, slope 0.2"}
    assert {unknown["name"] for unknown in unknowns} == set(answers)
    answer = upload(http, path.read_bytes(), name="article", licence="MIT",
                    answers=json.dumps(answers))  # fmt: skip
    assert answer.status_code == 201, answer.text
    assert answer.json()["warnings"] == []
    body = {"model": "article", "samples": 8, "seed": 5}
    drawn = http.post("/v1/samples", json=body, headers={"Accept": "application/x-npz"})
    assert drawn.status_code == 200, drawn.text
    images = np.load(io.BytesIO(drawn.content))["images"]
    z = normal(seed=5, model=answer.json()["sha256"], shard=0, first=0, count=8, size=100)
    wanted = sample(load(trained.spec, trained.weights_path), z, None).pixels
    assert np.abs(images.reshape(wanted.shape).astype(int) - wanted).max() <= 1


def test_the_same_content_again_is_the_same_model(http: httpx.Client) -> None:
    content = strangers.bare(strangers.state(0.1))
    first = upload(http, content, spec=spec("again"))
    again = upload(http, content, spec=spec("again"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = upload(http, strangers.bare(strangers.state(0.2)), spec=spec("again"))
    assert other.status_code == 409
    newer = upload(http, strangers.bare(strangers.state(0.2)), spec=spec("again", version="2"))
    assert newer.status_code == 201
    assert http.get("/v1/models/again").json()["version"] == "2"


def test_an_onnx_graph_runs_a_job(http: httpx.Client) -> None:
    document = strangers.spec_of_decoder(name="graph", architecture="onnx", options={})
    del document["tensors"]
    answer = upload(http, strangers.onnx(), spec=json.dumps(document))
    assert answer.status_code == 201, answer.text
    job = run_job(http, {"model": "graph", "samples_per_class": 3})
    assert job["state"] == "succeeded"


def test_an_inspection_says_what_is_open_and_draws_it(http: httpx.Client) -> None:
    before = http.get("/v1/models").json()
    answer = upload(
        http, strangers.bare(strangers.state()), "/v1/models/inspect", name="x", tries="2"
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert {row["name"] for row in found["tensors"]} == set(strangers.state())
    assert "output" in {unknown["name"] for unknown in found["unknowns"]}
    assert len(found["tries"]) == 2
    with Image.open(io.BytesIO(base64.b64decode(found["tries"][0]["preview"]))) as sheet:
        sheet.load()
    assert http.get("/v1/models").json() == before


def test_open_questions_are_asked_until_they_are_answered(http: httpx.Client) -> None:
    content = strangers.bare(strangers.state(0.3))
    asked = upload(http, content, name="asked")
    assert asked.status_code == 422
    assert asked.json()["type"] == "/problems/model-spec-needed"
    unknowns = asked.json()["proposal"]["unknowns"]
    answers = {unknown["name"]: unknown["candidates"][0]["label"] for unknown in unknowns}
    wrong = upload(
        http, content, name="asked", answers=json.dumps(answers | {"output": "none at all"})
    )
    assert wrong.json()["type"] == "/problems/model-spec-invalid"
    taken = upload(http, content, name="asked", answers=json.dumps(answers))
    assert taken.status_code == 201, taken.text


def test_a_model_that_is_not_worth_serving_says_so_everywhere(http: httpx.Client) -> None:
    flat = {name: torch.zeros_like(tensor) for name, tensor in strangers.state().items()}
    refused = upload(http, strangers.bare(flat), spec=spec("flat"))
    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/model-degenerate"
    assert [finding["code"] for finding in refused.json()["findings"]] == ["constant"]
    assert http.get("/v1/models/flat").status_code == 404
    insisted = upload(http, strangers.bare(flat), spec=spec("flat"), accept_degenerate="true")
    assert insisted.status_code == 201
    listed = {m["name"]: m["warnings"] for m in http.get("/v1/models").json()["models"]}
    assert listed["flat"] == insisted.json()["warnings"] != []


@pytest.mark.parametrize(
    ("changes", "problem", "said"),
    [
        ({"value_range": [0, 255]}, "model-refused", "value_range"),
        ({"latent_size": 7}, "model-spec-invalid", "layers.0.weight"),
        ({"classes": 4}, "model-spec-invalid", "layers.0.weight"),
        ({"image": {"height": 10, "width": 10, "channels": 1}}, "model-spec-invalid", "144"),
    ],
)
def test_a_spec_that_does_not_fit_is_told_where(
    http: httpx.Client, changes: dict[str, Any], problem: str, said: str
) -> None:
    answer = upload(http, strangers.bare(strangers.state()), spec=spec("wrong", **changes))
    assert answer.status_code == 422
    assert answer.json()["type"] == f"/problems/{problem}"
    assert said in answer.json()["detail"]
    assert http.get("/v1/models/wrong").status_code == 404


def test_values_that_are_not_finite_are_refused(http: httpx.Client) -> None:
    broken = strangers.state()
    broken["fc4.bias"] = torch.full_like(broken["fc4.bias"], float("nan"))
    answer = upload(http, strangers.bare(broken), spec=spec("nan"), accept_degenerate="true")
    assert answer.json()["type"] == "/problems/model-refused"
    assert answer.json()["findings"][0]["code"] == "not-finite"


REFUSED: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"", {"name": "x"}, 422, "unsupported-checkpoint"),
    (b"<!doctype html><html>", {"name": "x"}, 422, "unsupported-checkpoint"),
    (b"version https://git-lfs.github.com/spec/v1\n", {"name": "x"}, 422, "unsupported-checkpoint"),
    (strangers.bare(strangers.state())[:-300], {"name": "x"}, 422, "unsupported-checkpoint"),
    (strangers.bare(strangers.state()), {}, 422, "validation"),
    (strangers.bare(strangers.state()), {"spec": "{"}, 422, "model-spec-invalid"),
    (strangers.bare(strangers.state()), {"name": "../x"}, 422, "validation"),
    (strangers.bare(strangers.state()), {"name": "x", "answers": "[]"}, 422, "validation"),
    (strangers.bare(strangers.state()), {"spec": spec("no-worker")}, 503, "unavailable"),
]


@pytest.mark.parametrize(
    ("content", "fields", "status", "problem"), REFUSED, ids=range(len(REFUSED))
)
def test_a_refused_upload_leaves_nothing(
    service: Service, content: bytes, fields: dict[str, str], status: int, problem: str
) -> None:
    before = service.traces()
    answer = upload(service.client, content, **fields)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert service.traces() == before


def test_a_key_is_asked_for_before_the_body_is_read(service: Service) -> None:
    before = service.traces()

    def body() -> Any:
        yield b"x"
        raise AssertionError("the body was read")

    answer = service.client.post(
        "/v1/models",
        content=body(),
        headers={
            "Authorization": "Bearer wrong",
            "Content-Type": "multipart/form-data; boundary=b",
        },
    )
    assert answer.status_code == 401
    assert service.traces() == before


def test_another_kind_of_body_is_refused(service: Service) -> None:
    assert service.client.post("/v1/models", json={"name": "x"}).status_code == 415


def test_an_upload_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.settings, "max_upload_bytes", 1 << 10)
    before = service.traces()
    answer = upload(service.client, bytes(6 << 20), name="x")
    assert answer.status_code == 413
    assert answer.json()["limit"] == 1 << 10
    assert service.traces() == before
