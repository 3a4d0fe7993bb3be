"""Copies of training images are refused: API, databases, shard loop and the comparison are real; a
generator that gives training images away takes the place of a trained one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine.originals import Shelf
from app.jobs.filling import ROUND
from app.jobs.plan import Plan
from models.latents import normal
from models.verdicts import Verdicts
from models.zoo.catalogue import shipped, shipped_classifiers
from tests import made_corpora as made
from tests.local_worker import MODEL, FakeBatch, FakeEngine, LocalWorker
from tests.service import Service

CLASSES = ("bag", "coat", "sandal")
"""Of the dataset; a model has them at other places."""
TRAIN, TEST = 30, 40
ASKED = {"sandal": 40, "bag": 25}
PERCENTILE = 10
JUDGE = next(each.spec for each in shipped_classifiers() if "bag" in each.spec.classes)
SPEC = next(each.spec for each in shipped() if each.spec.name == MODEL)
Images = NDArray[np.uint8]


def kind(name: str, split: str, count: int) -> Images:
    """Images of a class: noise about a picture of it, the wider the later the class."""
    place = CLASSES.index(name)
    picture = np.random.default_rng(place).integers(60, 190, (28, 28))
    stream = np.random.default_rng([place, len(split)])
    spread = stream.uniform(2, 12 + 6 * place, (count, 1, 1))
    noise = stream.normal(size=(count, 28, 28)) * spread
    return np.clip(picture + noise, 0, 255).astype(np.uint8)[..., None]


REAL = {
    split: {name: kind(name, split, count) for name in CLASSES}
    for split, count in (("train", TRAIN), ("test", TEST))
}


def files(real: dict[str, dict[str, Images]] = REAL) -> dict[str, bytes]:
    return {
        f"{split}/{name}/{number:03d}.png": made.png(pixels)
        for split, classes in real.items()
        for name, images in classes.items()
        for number, pixels in enumerate(images)
    }


class Copying(FakeEngine):
    """A third of its images are training images, another third nearly so, the others are new."""

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> FakeBatch:
        assert labels is not None
        names = [SPEC.classes[label] for label in labels.tolist()]
        pixels = np.stack([paint(row, name) for row, name in zip(z, names, strict=True)])
        return FakeBatch(pixels, np.ones(len(z), bool))


def paint(z: NDArray[np.float32], name: str) -> Images:
    """An image of a class, by its latent."""
    stream = np.random.default_rng(list(hashlib.sha256(z.tobytes()).digest()[:8]))
    original = REAL["train"][name][stream.integers(TRAIN)]
    if (way := stream.integers(3)) == 2:
        return kind(name, "x" * stream.integers(10, 10_000), 1)[0]
    noise = stream.integers(-1, 2, original.shape) if way else 0
    return np.clip(original.astype(np.int64) + noise, 0, 255).astype(np.uint8)


# By hand, in whole numbers


def distance(pixels: Images, name: str) -> float:
    each = (REAL["train"][name].astype(np.int64) - pixels.astype(np.int64)) ** 2
    return float(np.sqrt(each.sum(axis=(1, 2, 3)).min()))


def limits(asked: dict[str, int]) -> dict[str, float]:
    """Class → distance at which a sample is a copy, as docs/checks.md says it."""
    unseen = {name: [distance(p, name) for p in REAL["test"][name]] for name in asked}
    usual = {name: float(np.median(found)) for name, found in unseen.items()}
    weighed = sorted(
        (d / usual[name], asked[name] / TEST) for name, found in unseen.items() for d in found
    )
    below, least = 0.0, PERCENTILE / 100 * sum(weight for _, weight in weighed)
    for relative, weight in weighed:
        below += weight
        if below >= least - 1e-9:
            return {name: relative * usual[name] for name in asked}
    raise AssertionError


@dataclass
class ByHand:
    """What becomes of the candidates of one shard."""

    chosen: list[tuple[int, int]]
    refused: Counter[str]


def by_hand(plan: Plan, index: int, nearest: dict[str, float]) -> ByHand:
    shard, sha256 = plan.shard(index), plan.models[0].sha256
    found: dict[int, int] = {}
    refused: Counter[str] = Counter()
    wanted, first = list(range(shard.size)), 0
    while wanted:
        tried = wanted * (max(1, ROUND // len(wanted)) if first else 1)
        for candidate, position in enumerate(tried, first):
            if position in found:
                continue
            name = plan.classes[plan.cells[shard.cells[position]].label]
            z = normal(seed=plan.seed, model=sha256, shard=index, first=candidate, count=1, size=64)
            if distance(paint(z[0], name), name) <= nearest[name] + 1e-9:
                refused[name] += 1
            else:
                found[position] = candidate
        first += len(tried)
        wanted = [position for position in wanted if position not in found]
    return ByHand([(shard.first + k, found[k]) for k in sorted(found)], refused)


SERVICE_SETTINGS: dict[str, Any] = {"shard_samples": 30, "engine_batch": 16}
"""Small shards, so that a job has several."""


@pytest.fixture(scope="module", autouse=True)
def _shop(service: Service) -> None:
    upload(service, files(), "shop")


@pytest.fixture(scope="module")
def worker(service: Service) -> Iterator[LocalWorker]:
    worker = LocalWorker(service.settings.data_dir, service.settings.database_url)
    worker.context.engine = Copying()
    worker.context.originals = Shelf().load
    yield worker
    worker.close()


def upload(service: Service, content: dict[str, bytes], name: str) -> str:
    answer = service.client.post(
        "/v1/datasets", files={"file": ("data", made.zipped(content))}, data={"name": name}
    )
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def body(**copies: Any) -> dict[str, Any]:
    asked = {"dataset": "shop", "percentile": PERCENTILE} | copies
    return {"model": MODEL, "samples_per_class": ASKED, "seed": 3, "checks": {"copies": asked}}


def drawn(
    service: Service,
    worker: LocalWorker,
    order: Sequence[int],
    threads: int = 1,
    asked: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any], Plan]:
    """A job that has ended, its manifest and its plan; shards in this order, so many at a time."""
    answer = service.client.post("/v1/jobs", json=asked or body())
    assert answer.status_code == 202, answer.text
    view = answer.json()
    job = worker.job(view["id"])
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda index: worker.run_shards(job, [index]), order))
    worker.finalize(job)
    view = service.client.get(view["links"]["self"]).json()
    page = service.client.get(view["links"]["manifest"], params={"limit": 1000}).json()
    return view, page, Plan.from_json(worker.job(view["id"]).plan)


def test_copies_are_refused_and_n_are_delivered(service: Service, worker: LocalWorker) -> None:
    view, page, plan = drawn(service, worker, range(3))
    assert view["state"] == "succeeded", view["problem"]
    assert Counter(row["class"] for row in page["samples"]) == ASKED

    nearest = limits(ASKED)
    expected = [by_hand(plan, index, nearest) for index in range(plan.shards)]
    chosen = [(row["index"], row["candidate"]) for row in page["samples"]]
    assert chosen == [pair for shard in expected for pair in shard.chosen]
    by_class = sum((shard.refused for shard in expected), Counter[str]())
    assert page["refused"] == {"copy": by_class.total()}
    assert by_class.total() > 65

    guard = page["copies"]
    assert guard["distances"] == pytest.approx(nearest, abs=1e-3)
    assert (guard["dataset"], guard["training"], guard["holdout"]) == ("shop", "train", "test")
    report = service.client.get(view["report"]["json_url"]).json()["job"]
    assert report["copies"] == guard == view["copies"]
    assert report["refused_by_class"] == {name: {"copy": n} for name, n in by_class.items()}
    assert report["request"]["checks"] == body()["checks"]
    html = service.client.get(view["report"]["html_url"]).text
    assert f"{by_class.total():,} were refused as such" in html

    # A sample is drawn again from its row, whatever was refused before it.
    for row in page["samples"]:
        where = {"seed": row["seed"], "model": row["model_sha256"], "shard": row["shard"]}
        z = normal(**where, first=row["candidate"], count=1, size=64)
        again = paint(z[0], row["class"]).tobytes()
        assert hashlib.sha256(again).hexdigest() == row["pixel_sha256"]


def test_neither_order_nor_workers_change_a_sample(service: Service, worker: LocalWorker) -> None:
    ways = [((2, 1, 0), 1), ((1, 2, 0), 3)]
    found = []
    for order, threads in ways:
        worker.context.originals = Shelf(0).load  # as a worker that has just started
        view, page, plan = drawn(service, worker, order, threads)
        rows = [row["file_sha256"] for row in page["samples"]]
        found.append((rows, page["refused"], plan.to_json(), view["dataset_identifier"]))
    assert all(each == found[0] for each in found)
    queued = service.client.post("/v1/jobs", json=body()).json()
    assert queued["dataset_identifier"] == found[0][3]
    assert queued["copies"]["threshold"] is None
    service.client.post(queued["links"]["cancel"])


class Unasked(Copying):
    """The same of whatever class, as a model does that takes none, with a classifier beside it."""

    def generate(self, model: str, z: Any, labels: Any, batch: int) -> FakeBatch:
        assert labels is None
        return FakeBatch(np.stack([unasked(row) for row in z]), np.array([z[:, 0] < 1.5])[0])

    def label(self, classifier: str, pixels: Images) -> Verdicts:
        found = [judged(each) for each in pixels]
        labels = [JUDGE.classes.index(name) for name, _ in found]
        return Verdicts(np.array(labels), np.array([sure for _, sure in found], np.float32))


def unasked(z: NDArray[np.float32]) -> Images:
    return paint(z, CLASSES[int(hashlib.sha256(z.tobytes()).digest()[9]) % len(CLASSES)])


def judged(pixels: Images) -> tuple[str, float]:
    return CLASSES[int(pixels[5, 5, 0]) % 3], float(pixels[6, 6, 0] % 16) / 16


def test_every_check_with_a_classifier_that_labels(service: Service, worker: LocalWorker) -> None:
    asked: dict[str, Any] = {
        "model": "fashion-gan", "samples_per_class": {"sandal": 20, "bag": 14}, "seed": 3,
        "labelled_by": {"classifier": JUDGE.name, "min_confidence": 0.25},
        "checks": body()["checks"] | {"contrast": {"max": 0.165}, "near_duplicates": True},
    }  # fmt: skip
    kept, worker.context.engine = worker.context.engine, Unasked()
    view, page, plan = drawn(service, worker, (1, 0), asked=asked)
    worker.context.engine = kept
    assert view["state"] == "succeeded", view["problem"]

    every = [(name, split, pixels) for split in REAL for name in CLASSES for pixels in REAL[split][name]]  # noqa: E501  # fmt: skip
    training = [pixels.astype(np.int64) for _, split, pixels in every if split == "train"]

    def nearest(pixels: Images) -> float:
        return float(np.sqrt(min(((each - pixels) ** 2).sum() for each in training)))

    unseen = sorted(nearest(pixels) for _, split, pixels in every if split == "test")
    limit = unseen[len(unseen) * PERCENTILE // 100 - 1]
    chosen, refused = [], Counter[str]()
    for index in range(plan.shards):
        shard, candidate = plan.shard(index), -1
        left = {shard.first + k: plan.classes[plan.cells[cell].label]
                for k, cell in enumerate(shard.cells)}  # fmt: skip
        while left:
            candidate += 1
            sha256 = plan.models[0].sha256
            z = normal(seed=3, model=sha256, shard=index, first=candidate, count=1, size=64)
            pixels, fits = unasked(z[0]), {name: at for at, name in reversed(left.items())}
            name, sure = judged(pixels)
            if z[0, 0] >= 1.5:
                refused["not-finite"] += 1
            elif pixels.std() / 255 > 0.165:
                refused["contrast"] += 1
            elif nearest(pixels) <= limit + 1e-9:
                refused["copy"] += 1
            elif sure < 0.25:
                refused["low-confidence"] += 1
            elif name not in fits:
                refused["other-class-full"] += 1
            else:
                chosen.append((fits[name], candidate))
                del left[fits[name]]
    assert [(row["index"], row["candidate"]) for row in page["samples"]] == sorted(chosen)
    assert page["refused"] == dict(refused)
    assert set(refused) == {
        "not-finite", "contrast", "copy", "low-confidence", "other-class-full",
    }  # fmt: skip
    assert Counter(row["class"] for row in page["samples"]) == asked["samples_per_class"]
    assert page["copies"]["distances"] == {"": pytest.approx(limit, abs=1e-3)}
    report = service.client.get(view["report"]["json_url"]).json()["job"]
    assert (report["refused"], report["refused_by_class"]) == (dict(refused), {})


def test_a_dry_class_says_its_figures(service: Service, worker: LocalWorker) -> None:
    class Thief(Copying):
        def generate(self, model: str, z: Any, labels: Any, batch: int) -> FakeBatch:
            names = [SPEC.classes[label] for label in labels.tolist()]
            pixels = np.stack([REAL["train"][name][0] for name in names])
            return FakeBatch(pixels, np.ones(len(z), bool))

    worker.context.engine, kept = Thief(), worker.context.engine
    view, _, _ = drawn(service, worker, range(3))
    worker.context.engine = kept
    problem = view["problem"]
    assert problem["type"] == "/problems/class-ran-dry"
    assert set(problem["missing"]) == set(ASKED)
    assert problem["refused"] == {"copy": 1000}
    assert "lower the percentile" in problem["detail"]


def test_a_dataset_stays_while_a_job_is_held_against_it(service: Service) -> None:
    dataset = upload(service, files({"train": REAL["test"], "test": REAL["train"]}), "other")
    job = service.client.post("/v1/jobs", json=body(dataset=dataset)).json()
    refused = service.client.delete(f"/v1/datasets/{dataset}")
    assert (refused.status_code, refused.json()["runs"]) == (409, [job["id"]])
    service.client.post(job["links"]["cancel"])
    assert service.client.delete(f"/v1/datasets/{dataset}").status_code == 204


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"train": REAL["train"]}, ("has the splits: train", 'others of the same kind in "test"')),
        ({"test": REAL["test"]}, ("has the splits: test",)),
        (
            {split: {"bag": REAL[split]["bag"]} for split in REAL},
            ("no training images of: 'sandal'", "It has: 'bag'"),
        ),
        (
            {"train": REAL["train"], "test": {"coat": REAL["test"]["coat"]}},
            ("has no image of the classes asked for: 'bag', 'sandal'",),
        ),
    ],
)
def test_a_dataset_that_does_not_fit_is_refused_at_the_door(
    service: Service, content: dict[str, dict[str, Images]], words: tuple[str, ...]
) -> None:
    dataset = upload(service, files(content), f"unfit-{hash(words) % 10**6}")
    before = service.traces()
    for route in ("/v1/jobs", "/v1/jobs/estimate"):
        answer = service.client.post(route, json=body(dataset=dataset))
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/unsupported-dataset")
        assert all(word in answer.json()["detail"] for word in words), answer.text
    assert service.traces() == before


@pytest.mark.parametrize(
    ("copies", "slug"),
    [
        ({"dataset": "nowhere"}, "unknown-dataset"),
        ({"percentile": 0}, "validation"),
        ({"percentile": 51}, "validation"),
        ({"percentile": "1"}, "validation"),
        ({"distance": 3}, "validation"),
    ],
)
def test_bad_requests_leave_nothing(service: Service, copies: dict[str, Any], slug: str) -> None:
    before = service.traces()
    answer = service.client.post("/v1/jobs", json=body(**copies))
    assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{slug}")
    assert service.traces() == before


def test_a_small_batch_is_held_against_nothing(service: Service) -> None:
    answer: httpx.Response = service.client.post("/v1/samples", json=body())
    assert answer.status_code == 422
    assert "POST /v1/jobs" in answer.json()["detail"]
