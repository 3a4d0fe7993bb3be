"""Samples by class of a model that takes none: generator, classifier and worker are real."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.checkpoint import load_classifier
from models.training.classify import predict
from models.zoo.catalogue import shipped_classifiers
from tests.harness import follow, run_job, submit
from tests.service import Service

JUDGE = "fashion-classifier"
BODY: dict[str, Any] = {
    "model": "fashion-gan",
    "samples_per_class": 20,
    "seed": 11,
    "labelled_by": {"classifier": JUDGE, "min_confidence": 0.6},
}


def test_every_class_is_full_and_the_classifier_agrees(http: httpx.Client) -> None:
    job = run_job(http, BODY)
    [shipped] = shipped_classifiers()
    assert job["progress"]["shards"] > 1
    assert job["labelled_by"]["sha256"] == shipped.spec.sha256
    content = http.get(job["archives"][0]["url"]).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        pixels = np.stack([np.asarray(Image.open(archive.open(name))) for name in names])
        described = json.loads(archive.read("dataset.json"))
    folders = np.array([shipped.spec.classes.index(name.split("/")[0]) for name in names])
    assert np.bincount(folders).tolist() == [20] * 10
    classifier = load_classifier(shipped.spec, shipped.weights_path)
    probabilities = predict(classifier, pixels[..., None])
    assert (probabilities.argmax(axis=1) == folders).all()
    assert probabilities.max(axis=1).min() > 0.6 - 1e-5  # rounding of another kind of batch
    assert described["labelled_by"] == job["labelled_by"]


def test_a_class_that_can_t_be_filled_is_named(http: httpx.Client) -> None:
    sure = {"classifier": JUDGE, "min_confidence": 1.0}
    asked = BODY | {"samples_per_class": {"shirt": 5}, "labelled_by": sure}
    problem = follow(http, submit(http, asked)["id"]).job["problem"]
    assert problem["type"] == "/problems/class-ran-dry"
    assert problem["missing"].keys() == {"shirt"}
    assert "'shirt'" in problem["detail"]
    assert problem["refused"]["low-confidence"] > 0


def test_the_estimate_measures_a_pilot(http: httpx.Client) -> None:
    cost = http.post("/v1/jobs/estimate", json=BODY).json()["labelling"]
    assert cost["pilot_candidates"] == 512
    assert cost["candidates"] == max(cost["candidates_per_class"].values()) >= 200
    assert http.post("/v1/jobs/estimate", json=BODY).json()["labelling"] == cost


def test_classifiers_are_listed(service: Service) -> None:
    [found] = service.client.get("/v1/classifiers").json()["classifiers"]
    assert found["name"] == JUDGE
    assert len(found["classes"]) == 10


def test_an_estimate_without_a_worker_says_that_nothing_was_measured(service: Service) -> None:
    cost = service.client.post("/v1/jobs/estimate", json=BODY).json()["labelling"]
    assert cost["candidates"] is None
    assert "not measured" in cost["basis"]


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"labelled_by": None}, "unconditional-model"),
        ({"labelled_by": "stranger"}, "unknown-classifier"),
        ({"model": "fashion-cgan"}, "validation"),
        ({"samples_per_class": {"hat": 3}}, "unknown-class"),
        ({"labelled_by": {"classifier": JUDGE, "min_confidence": 2}}, "validation"),
        ({"labelled_by": 7}, "validation"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    service: Service, change: dict[str, Any], slug: str
) -> None:
    before = service.traces()
    answer = service.client.post("/v1/jobs", json=BODY | change)
    assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{slug}")
    assert service.traces() == before


def test_samples_at_once_are_not_labelled(service: Service) -> None:
    answer = service.client.post("/v1/samples", json=BODY)
    assert answer.status_code == 422
    assert "POST /v1/jobs" in answer.json()["detail"]
