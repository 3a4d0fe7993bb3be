"""A job from request to archive on a real server and worker, checked by recomputation."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from datetime import datetime
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.zoo.catalogue import shipped
from tests.builders import REQUEST
from tests.harness import follow, rows_of, run_job, submit

Job = dict[str, Any]
UNCONDITIONAL = [model.spec for model in shipped() if not model.spec.conditional]
CONDITIONAL = [model.spec for model in shipped() if model.spec.conditional]


# What a finished job says


def test_a_finished_job_says_what_it_is(http: httpx.Client, finished: Job) -> None:
    job = http.get(finished["links"]["self"]).json()
    assert job == finished
    assert job["state"] == "succeeded"
    assert job["samples"] == 255
    assert job["samples_per_class"] == REQUEST["samples_per_class"]
    assert job["seed"] == 7
    assert job["progress"] == {
        "samples": 255,
        "samples_done": 255,
        "shards": 3,
        "shards_done": 3,
        "candidates_refused": 0,
        "refused": {},
    }
    assert job["problem"] is None
    moments = [datetime.fromisoformat(job[name]) for name in ("created", "started", "finished")]
    assert moments == sorted(moments)
    assert all(moment.tzinfo for moment in moments)
    assert [archive["format"] for archive in job["archives"]] == ["imagefolder"]


def test_the_manifest_has_exactly_n_rows(finished: Job, rows: list[dict[str, Any]]) -> None:
    assert [row["index"] for row in rows] == list(range(255))
    assert Counter(row["class"] for row in rows) == REQUEST["samples_per_class"]
    model = finished["models"][0]
    for row in rows:
        assert row["model"] == f"{model['name']}@{model['version']}"
        assert row["model_sha256"] == model["sha256"]
        assert finished["classes"][row["label"]] == row["class"]
        assert row["seed"] == 7
        assert row["file"].endswith(f"/{row['index']:08d}.png")
        assert datetime.fromisoformat(row["created"]).tzinfo
    assert len({(row["shard"], row["candidate"]) for row in rows}) == 255


def test_every_hash_is_that_of_the_archives_files(
    rows: list[dict[str, Any]], archive: bytes
) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for row in rows:
            payload = opened.read(row["file"])
            assert len(payload) == row["bytes"]
            assert hashlib.sha256(payload).hexdigest() == row["file_sha256"]
            with Image.open(io.BytesIO(payload), formats=("PNG",)) as picture:
                assert (picture.width, picture.height) == (row["width"], row["height"])
                assert len(picture.getbands()) == row["channels"]
                pixels = np.asarray(picture)
            assert hashlib.sha256(pixels.tobytes()).hexdigest() == row["pixel_sha256"]


def test_no_two_samples_are_equal(rows: list[dict[str, Any]]) -> None:
    assert len({row["pixel_sha256"] for row in rows}) == 255


def test_dataset_json_says_what_the_job_says(archive: bytes, finished: Job) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        document = json.loads(opened.read("dataset.json"))
    assert document["format"] == "synthloom-dataset/1"
    assert document["synthetic"] is True
    for name in ("seed", "samples", "samples_per_class", "classes"):
        assert document[name] == finished[name]
    assert finished["id"] not in json.dumps(document)


def test_every_shard_holds_its_share_of_every_class(rows: list[dict[str, Any]]) -> None:
    for shard in range(3):
        made = Counter(row["class"] for row in rows if row["shard"] == shard)
        for name, count in REQUEST["samples_per_class"].items():
            assert abs(made[name] - count / 3) < 1


# Reproducible


def test_the_same_request_gives_the_same_bytes(
    http: httpx.Client, finished: Job, archive: bytes
) -> None:
    again = run_job(http, REQUEST)
    assert again["id"] != finished["id"]
    assert again["archives"][0]["sha256"] == finished["archives"][0]["sha256"]
    assert http.get(again["archives"][0]["url"]).content == archive


def test_another_seed_gives_other_images(http: httpx.Client, rows: list[dict[str, Any]]) -> None:
    other = rows_of(http, run_job(http, REQUEST | {"seed": 8}))
    assert not {row["pixel_sha256"] for row in other} & {row["pixel_sha256"] for row in rows}


def test_a_seed_that_was_drawn_reproduces_too(http: httpx.Client) -> None:
    drawn = run_job(http, {"model": "fashion-cgan", "samples_per_class": 2})
    again = run_job(http, {"model": "fashion-cgan", "samples_per_class": 2, "seed": drawn["seed"]})
    assert again["archives"][0]["sha256"] == drawn["archives"][0]["sha256"]


@pytest.fixture(scope="session")
def hashes() -> set[str]:
    """Of the archives of one request, on every database."""
    return set()


def test_every_database_gives_the_same_archive(finished: Job, hashes: set[str]) -> None:
    hashes.add(finished["archives"][0]["sha256"])
    assert len(hashes) == 1


# Other jobs


def test_one_sample(http: httpx.Client) -> None:
    job = run_job(http, {"model": "fashion-cgan", "samples_per_class": {"bag": 1}})
    assert [row["class"] for row in rows_of(http, job)] == ["bag"]
    assert job["progress"]["shards"] == 1


@pytest.mark.parametrize("count", [100, 101, 200])
def test_around_the_size_of_a_shard(http: httpx.Client, count: int) -> None:
    job = run_job(http, {"model": "fashion-cgan", "samples_per_class": {"bag": count}})
    assert len(rows_of(http, job)) == count
    assert job["progress"]["shards"] == -(-count // 100)


@pytest.mark.skipif(not UNCONDITIONAL, reason="no unconditional model is shipped yet")
def test_a_model_without_classes(http: httpx.Client) -> None:
    name = UNCONDITIONAL[0].name
    job = run_job(http, {"model": name, "samples": 150, "seed": 7})
    assert job["samples_per_class"] == {"unlabelled": 150}
    rows = rows_of(http, job)
    assert len(rows) == 150
    assert {row["class"] for row in rows} == {"unlabelled"}
    refused = http.post("/v1/jobs", json={"model": name, "samples_per_class": 3})
    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/unconditional-model"


@pytest.mark.skipif(len(CONDITIONAL) < 2, reason="one conditional model is shipped so far")
def test_two_models_share_a_job(http: httpx.Client) -> None:
    first, second = CONDITIONAL[0].ref, CONDITIONAL[1].ref
    models = [{"model": first, "weight": 0.7}, {"model": second, "weight": 0.3}]
    job = run_job(http, {"models": models, "samples_per_class": {"bag": 50, "coat": 30}})
    made = Counter((row["class"], row["model"]) for row in rows_of(http, job))
    assert made == {
        ("bag", first): 35,
        ("bag", second): 15,
        ("coat", first): 21,
        ("coat", second): 9,
    }


# Following, listing, estimating, cancelling


def test_a_job_can_be_followed_cheaply(http: httpx.Client) -> None:
    job = submit(http, REQUEST)
    url = job["links"]["self"]
    assert job["state"] == "queued"
    ended = follow(http, job["id"])
    order = ["queued", "running", "finalizing", "succeeded"]
    assert list(ended.states) == [state for state in order if state in ended.states]
    answer = http.get(url)
    assert "retry-after" not in answer.headers
    tag = answer.headers["etag"]
    unchanged = http.get(url, headers={"If-None-Match": tag})
    assert unchanged.status_code == 304
    assert unchanged.content == b""
    assert unchanged.headers["etag"] == tag
    assert http.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_new_job_is_announced(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json=REQUEST)
    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["links"]["self"]
    assert answer.headers["retry-after"] == "1"
    first = http.get(answer.headers["location"])
    assert first.headers["etag"]
    assert first.headers["retry-after"] == "1" or first.json()["state"] == "succeeded"
    follow(http, answer.json()["id"])


def test_a_list_neither_skips_nor_repeats_while_jobs_come(http: httpx.Client) -> None:
    small = {"model": "fashion-cgan", "samples_per_class": {"bag": 1}}
    mine = [submit(http, small)["id"] for _ in range(5)]
    listed: list[str] = []
    newer: list[str] = []
    token = None
    while True:
        query: dict[str, Any] = {"limit": 2} | ({"after": token} if token else {})
        page = http.get("/v1/jobs", params=query).json()
        listed += [job["id"] for job in page["jobs"]]
        token = page["next"]
        assert token is None or len(page["jobs"]) == 2
        if token is None:
            break
        if len(newer) < 4:
            newer.append(submit(http, small)["id"])
    assert len(set(listed)) == len(listed)
    assert listed[:5] == mine[::-1]
    assert not set(newer) & set(listed)
    for job_id in [*mine, *newer]:
        follow(http, job_id)


def test_an_estimate_learns_from_what_has_run(http: httpx.Client, finished: Job) -> None:
    body = REQUEST | {"samples_per_class": {"bag": 2550}}
    before = len(http.get("/v1/jobs", params={"limit": 200}).json()["jobs"])
    answer = http.post("/v1/jobs/estimate", json=body)
    assert answer.status_code == 200
    estimate = answer.json()
    assert estimate["samples"] == 2550
    assert estimate["samples_per_class"] == {"bag": 2550}
    assert estimate["shards"] == 26
    assert estimate["seed"] == 7
    assert estimate["seconds"] > 0
    assert estimate["basis"].startswith("measured: job_")
    measured = finished["archives"][0]["bytes"] * 10
    assert 0.8 * measured < estimate["archive_bytes"] < 1.2 * measured
    assert len(http.get("/v1/jobs", params={"limit": 200}).json()["jobs"]) == before


def test_a_finished_job_is_not_cancelled(http: httpx.Client, finished: Job) -> None:
    answer = http.post(finished["links"]["cancel"])
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/not-cancellable"
    assert answer.json()["state"] == "succeeded"
    assert http.get(finished["links"]["self"]).json() == finished


def test_a_cancelled_job_has_no_archive(http: httpx.Client) -> None:
    job = submit(http, {"model": "fashion-cgan", "samples_per_class": 5_000})
    cancelled = http.post(job["links"]["cancel"])
    assert cancelled.status_code == 200
    assert cancelled.json()["state"] == "cancelled"
    assert cancelled.json()["finished"]
    again = http.post(job["links"]["cancel"])
    assert again.status_code == 200
    assert again.json()["state"] == "cancelled"
    archive = http.get(f"{job['links']['self']}/archives/imagefolder")
    assert archive.status_code == 409
    assert "retry-after" not in archive.headers
    assert "cancelled" in archive.json()["detail"]
