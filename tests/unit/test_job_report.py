"""The report of a job: what it says, what becomes of it, what a killed worker leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from app.db.tables import Job, JobReport
from app.jobs import sweep
from app.jobs.request import JobRequest
from app.quality.document import Report
from app.quality.samples import agreement, near_duplicates
from models.verdicts import Verdicts
from tests.local_worker import MODEL, FakeEngine, LocalWorker

ROOT = Path(__file__).parents[2]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[LocalWorker]:
    worker = LocalWorker(tmp_path, "", shard_samples=20)
    yield worker
    worker.close()


def ask(worker: LocalWorker, **fields: Any) -> Job:
    body = {"model": MODEL, "samples_per_class": {"bag": 30, "coat": 9}} | fields
    return worker.ask(JobRequest.model_validate(body))


def report_of(worker: LocalWorker, job: Job) -> Report:
    with worker.context.transaction() as session:
        row = session.get_one(JobReport, job.number)
    return Report.model_validate_json(worker.storage.read(row.json_key))


def reports(worker: LocalWorker) -> list[str]:
    return [key for key in worker.files() if "/report." in key]


class Judging(FakeEngine):
    """An engine whose classifier takes every image for a bag."""

    def label(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        return Verdicts(np.full(len(pixels), 8, np.int64), np.ones(len(pixels), np.float32))


def test_a_report_says_what_was_asked_and_delivered(worker: LocalWorker) -> None:
    job = ask(worker)
    worker.run_shards(job)
    worker.finalize(job)
    report = report_of(worker, job)
    assert report.job is not None
    rows = {row.name: (row.asked, row.delivered) for row in report.job.classes}
    assert rows == {"bag": (30, 30), "coat": (9, 9)}
    assert report.job.candidates == 39
    assert report.cost.bytes["archive imagefolder"] == report.job.files[0].bytes
    assert report.cost.devices == {"none": 2}
    assert report.figures["label_agreement"].reason == "This worker has no classifiers."
    assert report.models[0].name == MODEL
    assert worker.state(job) == "succeeded"


def test_what_a_report_says_to_do_again_is_the_same_job(worker: LocalWorker) -> None:
    job = ask(worker, encoding={"format": "png"})
    worker.run_shards(job)
    worker.finalize(job)
    report = report_of(worker, job)
    assert report.job is not None
    request = dict(report.job.request)
    assert request.pop("seed") == 7
    again = worker.ask(JobRequest.model_validate(request))
    assert again.plan == job.plan
    assert report.again[0] == (
        "synthloom generate fashion-cgan@1.1.0 --class coat=9 --class bag=30 --seed 7 --out dataset"
    )


def test_a_gate_that_is_not_passed_fails_the_job_and_keeps_the_report(worker: LocalWorker) -> None:
    worker.context.engine = Judging()
    job = ask(worker, gate={"label_agreement": 0.9})
    worker.run_shards(job)
    worker.finalize(job)
    with worker.context.transaction() as session:
        row = session.get_one(Job, job.number)
    assert row.state == "failed"
    assert row.problem is not None
    assert row.problem["type"] == "/problems/gate-failed"
    assert row.problem["gate"]["conditions"][0]["value"] == pytest.approx(30 / 39)
    report = report_of(worker, job)
    assert report.gate is not None
    assert not report.gate.passed
    assert report.verdict.startswith("The gate is not passed")
    sweep.sweep_ended_jobs(worker.context.transaction, worker.context.dispatcher, worker.storage)
    assert sorted(worker.files()) == sorted(reports(worker)), "nothing but the report stays"
    assert len(reports(worker)) == 2


def test_a_gate_that_is_passed_changes_nothing_in_the_archive(worker: LocalWorker) -> None:
    worker.context.engine = Judging()
    plain = ask(worker)
    gated = ask(worker, gate=["label_agreement>=0.5", "label_agreement/bag>=1"])
    archives = []
    for job in (plain, gated):
        worker.run_shards(job)
        worker.finalize(job)
        assert worker.state(job) == "succeeded"
        (key,) = [k for k in worker.files() if k.startswith(f"jobs/{job.id}/archives/")]
        archives.append(worker.storage.read(key))
    assert archives[0] == archives[1]
    found = report_of(worker, gated)
    assert found.gate is not None
    assert found.gate.passed


def test_a_report_without_real_images_says_so(worker: LocalWorker) -> None:
    job = ask(worker, report={"against": "ds_1"}, gate=["kid<=0.1"])
    worker.run_shards(job)
    worker.finalize(job)
    report = report_of(worker, job)
    assert "this worker can't do that" in (report.evaluation_reason or "")
    assert report.gate is not None
    assert "this worker can't do that" in (report.gate.conditions[0].reason or "")
    assert worker.state(job) == "failed"


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.local_worker import FakeEngine, LocalWorker
from app.jobs.request import JobRequest

class Deadly(FakeEngine):
    def label(self, classifier, pixels):
        os.kill(os.getpid(), signal.SIGKILL)

worker = LocalWorker(Path(sys.argv[1]), "", shard_samples=20)
job = worker.ask(JobRequest(model="fashion-cgan", samples_per_class={"bag": 30}))
worker.run_shards(job)
worker.context.engine = Deadly()
worker.finalize(job)
"""


def test_a_worker_that_is_killed_while_it_makes_the_report_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    worker = LocalWorker(tmp_path, "", shard_samples=20)
    try:
        with worker.context.transaction() as session:
            job = session.execute(sa.select(Job)).scalar_one()
        assert worker.state(job) == "finalizing"
        worker.finalize(job)
        assert worker.state(job) == "succeeded"
        sweep.remove_unreferenced(worker.context.transaction, worker.storage, job.id)
        kinds = sorted(key.split("/")[2].partition(".")[0] for key in worker.files())
        assert kinds == ["archives", "report", "report", "shards", "shards"]
        assert json.loads(report_of(worker, job).to_json())["job"]["samples"] == 30
    finally:
        worker.close()


# Figures of samples alone


def test_near_duplicates_are_counted_within_their_class() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 1), np.uint8)
    pixels = np.concatenate([noise, noise[:2], np.clip(noise[2:3], 1, 254)])
    labels = np.array([0] * 8 + [0, 1, 0])
    figure = near_duplicates(pixels, labels)
    assert figure.value == 4 / 11, "0 and its copy, 2 and its likeness; the copy of 1 is elsewhere"
    assert figure.synthetic == 11
    assert figure.interval is not None
    assert figure.interval.low < 4 / 11 < figure.interval.high


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (0, 20, 0.0, 0.1684),
        (20, 20, 0.8316, 1.0),
        (5, 10, 0.1871, 0.8129),
        (94, 100, 0.874, 0.9777),
    ],
)
def test_intervals_are_those_of_clopper_and_pearson(
    hits: int, count: int, low: float, high: float
) -> None:
    """The limits are those of the tables that statistics books print."""
    verdicts = Verdicts(np.array([1] * hits + [0] * (count - hits)), np.ones(count, np.float32))
    figures = agreement(verdicts, np.ones(count, np.int64), ("no", "yes"), "judge")
    interval = figures["label_agreement"].interval
    assert interval is not None
    assert (interval.low, interval.high) == (
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )
    assert figures["label_agreement/yes"].value == hits / count
