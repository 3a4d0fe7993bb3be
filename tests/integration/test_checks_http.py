"""Jobs with checks: the API, the generator, the classifier, the shard loop and the databases are
real; a loop in the test's process takes the place of the queue."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from app.jobs.sweep import sweep_ended_jobs
from app.worker import build_engine
from models.checkpoint import load_classifier
from models.training.classify import predict
from models.zoo.catalogue import shipped_classifiers
from tests.local_worker import LocalWorker
from tests.service import Service

CHECKS: dict[str, Any] = {"brightness": {"min": 0.15, "max": 0.5}, "contrast": {"min": 0.2}}
BODY: dict[str, Any] = {
    "model": "fashion-cgan",
    "samples_per_class": {"sandal": 60, "bag": 120, "shirt": 70},
    "seed": 7,
    "checks": CHECKS,
}


JUDGE = "fashion-classifier"


SERVICE_SETTINGS: dict[str, Any] = {"shard_samples": 100, "engine_batch": 32}
"""Small shards, so that a job has several."""


@pytest.fixture(scope="module")
def worker(service: Service) -> Iterator[LocalWorker]:
    """A worker with the shipped models on the data of the API."""
    where = service.settings
    worker = LocalWorker(where.data_dir, where.database_url)
    engine = build_engine(worker.settings, worker.database, worker.storage)
    worker.context.engine = engine
    yield worker
    engine.close()
    worker.close()


def ended(service: Service, worker: LocalWorker, body: dict[str, Any]) -> dict[str, Any]:
    """A job that has ended."""
    answer = service.client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    view: dict[str, Any] = answer.json()
    job = worker.job(view["id"])
    worker.run_shards(job)
    worker.finalize(job)
    found: dict[str, Any] = service.client.get(view["links"]["self"]).json()
    return found


def made(service: Service, worker: LocalWorker, body: dict[str, Any]) -> tuple[Any, bytes]:
    """A job that has succeeded, and its archive."""
    job = ended(service, worker, body)
    assert job["state"] == "succeeded", job["problem"]
    return job, service.client.get(job["archives"][0]["url"]).content


def images_of(content: bytes) -> tuple[NDArray[np.uint8], list[str], dict[str, Any]]:
    """Images [n, 28, 28] of an archive, their classes, and what it says of itself."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        pixels = np.stack([np.asarray(Image.open(archive.open(name))) for name in names])
        described = json.loads(archive.read("dataset.json"))
    return pixels, [name.split("/")[0] for name in names], described


def test_all_n_pass_and_every_refusal_is_counted(service: Service, worker: LocalWorker) -> None:
    job, content = made(service, worker, BODY)
    assert job["progress"]["shards"] == 3
    pixels, classes, described = images_of(content)
    assert {name: classes.count(name) for name in set(classes)} == BODY["samples_per_class"]
    light, spread = pixels.mean(axis=(1, 2)) / 255, pixels.std(axis=(1, 2)) / 255
    assert light.min() >= 0.15
    assert light.max() <= 0.5
    assert spread.min() >= 0.2
    assert described["checks"].keys() == CHECKS.keys()

    refused = job["progress"]["refused"]
    assert refused["brightness"] > 0
    assert sum(refused.values()) == job["progress"]["candidates_refused"]
    assert service.client.get(job["links"]["manifest"]).json()["refused"] == refused
    report = service.client.get(job["report"]["json_url"]).json()["job"]
    assert report["refused"] == refused
    assert report["candidates"] == 250 + sum(refused.values())
    by_class = report["refused_by_class"]
    assert sum(sum(why.values()) for why in by_class.values()) == sum(refused.values())
    assert set(by_class) <= set(classes)
    # What the report calls the same request is one.
    again, same = made(service, worker, report["request"])
    assert same == content
    assert again["checks"] == job["checks"]


def drawn(
    service: Service,
    worker: LocalWorker,
    body: dict[str, Any],
    order: Sequence[int],
    threads: int = 1,
) -> tuple[list[str], dict[str, int]]:
    """SHA-256 of the files of a job, and its refusals; shards in this order, so many at a time."""
    view = service.client.post("/v1/jobs", json=body).json()
    job = worker.job(view["id"])
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda index: worker.run_shards(job, [index]), order))
    if "near_duplicates" in body["checks"]:
        worker.compare(job)
    page = service.client.get(view["links"]["manifest"], params={"limit": 1000}).json()
    return [row["file_sha256"] for row in page["samples"]], page["refused"]


EVERY: dict[str, Any] = {
    "samples_per_class": {"trouser": 50, "sneaker": 100},
    "checks": CHECKS | {"label_agreement": {}, "near_duplicates": {"distance": 4}},
}


@pytest.mark.parametrize("change", [{}, EVERY], ids=["each sample alone", "across shards"])
def test_neither_order_nor_workers_nor_a_second_run_change_a_sample(
    service: Service, worker: LocalWorker, change: dict[str, Any]
) -> None:
    expected = drawn(service, worker, BODY | change, [0, 1, 2])
    assert len(expected[0]) in (150, 250)
    assert drawn(service, worker, BODY | change, [2, 1, 1, 0]) == expected
    assert drawn(service, worker, BODY | change, [0, 2, 1], threads=2) == expected


def test_no_two_samples_look_the_same(service: Service, worker: LocalWorker) -> None:
    """Of trousers and sneakers, which look alike; by another implementation of the same idea."""
    checks = {"near_duplicates": {"distance": 4}}
    body = BODY | {"samples_per_class": {"trouser": 50, "sneaker": 100}, "checks": checks}
    job, content = made(service, worker, body)
    assert job["progress"]["refused"]["near-duplicate"] > 0
    pixels, classes, _ = images_of(content)
    assert [classes.count(name) for name in ("trouser", "sneaker")] == [50, 100]
    assert len({image.tobytes() for image in pixels}) == 150
    hashes = np.packbits(by_scipy(pixels), axis=1)
    differing = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    near = (differing <= 4) & ~np.eye(150, dtype=bool)
    assert near.any(axis=1).sum() <= 4  # of an image, a bit at the median may be another one
    report = service.client.get(job["report"]["json_url"]).json()["job"]
    assert report["candidates"] == 150 + job["progress"]["candidates_refused"]
    # What comparisons replaced is gone from disk, and its hashes go with the end of the job.
    sweep_ended_jobs(worker.context.transaction, worker.context.dispatcher, worker.storage)
    shards = list(worker.storage.list(f"jobs/{job['id']}/shards"))
    assert len(shards) == job["progress"]["shards"] == 2


def by_scipy(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool [n, 64]: the perceptual hashes in floating point, by SciPy's cosine transform."""
    small = []
    for image in pixels:
        fine = image.repeat(32, axis=0).repeat(32, axis=1).astype(float)  # [896, 896]
        small.append(fine.reshape(32, 28, 32, 28).mean(axis=(1, 3)))
    low = dctn(np.stack(small), axes=(1, 2))[:, :8, :8].reshape(len(pixels), 64)
    return low > np.median(low, axis=1, keepdims=True)


def test_a_classifier_agrees_with_every_sample(service: Service, worker: LocalWorker) -> None:
    checks = {"label_agreement": {"min_confidence": 0.8}}
    job, content = made(service, worker, BODY | {"checks": checks})
    pixels, classes, described = images_of(content)
    [shipped] = shipped_classifiers()
    assert job["checks"]["label_agreement"]["classifier"] == shipped.spec.ref
    assert described["checks"]["label_agreement"]["sha256"] == shipped.spec.sha256
    classifier = load_classifier(shipped.spec, shipped.weights_path)
    probabilities = predict(classifier, pixels[..., None])
    meant = np.array([shipped.spec.classes.index(name) for name in classes])
    assert (probabilities.argmax(axis=1) == meant).all()
    assert probabilities.max(axis=1).min() > 0.8 - 1e-5  # rounding of another kind of batch
    assert job["progress"]["refused"]["label"] > 0
    assert job["progress"]["refused"]["confidence"] > 0


def test_a_dry_class_fails_the_job_with_its_figures(service: Service, worker: LocalWorker) -> None:
    checks = {"brightness": {"min": 0.99}, "label_agreement": {"classifier": JUDGE}}
    body = BODY | {"samples_per_class": {"bag": 5}, "checks": checks}
    problem = ended(service, worker, body)["problem"]
    assert problem["type"] == "/problems/class-ran-dry"
    assert problem["missing"] == {"bag": 5}
    assert problem["refused"] == {"brightness": 1000}
    assert "1000 brightness" in problem["detail"]


@pytest.mark.parametrize(
    "checks",
    [
        {"brightness": {"min": 0.6, "max": 0.5}},
        {"contrast": {}},
        {"sharpness": {"min": 0.5}},
        {"brightness": 0.5},
        "brightness",
        {"label_agreement": {"min_confidence": 2}},
        {"label_agreement": 0.8},
        {"near_duplicates": 3},
        {"near_duplicates": {"distance": 17}},
    ],
    ids=repr,
)
def test_bad_checks_are_refused_and_leave_nothing(service: Service, checks: Any) -> None:
    before = service.traces()
    for route in ("/v1/jobs", "/v1/jobs/estimate", "/v1/samples"):
        answer = service.client.post(route, json=BODY | {"checks": checks})
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/validation")
    assert service.traces() == before


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"checks": {"label_agreement": {"classifier": "stranger"}}}, "unknown-classifier"),
        (
            {
                "model": "fashion-gan",
                "labelled_by": JUDGE,
                "checks": {"label_agreement": {}},
            },
            "validation",
        ),
        (
            {
                "model": "fashion-gan",
                "samples_per_class": None,
                "samples": 5,
                "checks": {"label_agreement": {}},
            },
            "validation",
        ),
    ],
)
def test_checks_that_make_no_sense_are_refused(
    service: Service, change: dict[str, Any], slug: str
) -> None:
    before = service.traces()
    answer = service.client.post("/v1/jobs", json=BODY | change)
    assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{slug}")
    assert service.traces() == before


def test_samples_at_once_are_not_checked_by_a_classifier(service: Service) -> None:
    body = BODY | {"checks": {"label_agreement": {}}}
    answer = service.client.post("/v1/samples", json=body)
    assert answer.status_code == 422
    assert "POST /v1/jobs" in answer.json()["detail"]
