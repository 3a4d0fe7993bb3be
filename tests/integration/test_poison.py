"""Steps of a job that end their worker again and again are given up, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from app.db.tables import Job
from app.jobs import comparing, finalize
from app.jobs.request import JobRequest
from tests.local_worker import FakeBatch, FakeEngine, LocalWorker

ATTEMPTS = 2
PICTURES = np.random.default_rng(5).integers(0, 256, (60, 28, 28, 1)).astype(np.uint8)
"""So few that shards are compared, run again and compared again."""
STEPS: dict[str, tuple[object, str, str]] = {
    "shard": (FakeEngine, "submit", "Shard 0 was begun"),
    "comparison": (comparing, "repeated", "Comparing the shards was begun"),
    "last step": (finalize, "build_archive", "Building the archives was begun"),
}


class WorkerEndedError(BaseException):
    """The process is gone: nobody catches it, nothing after it is done."""


@pytest.fixture
def local(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalWorker]:
    monkeypatch.setattr(FakeEngine, "generate", _one_of_few)
    worker = LocalWorker(
        tmp_path, database_url, shard_samples=20, engine_batch=16, shard_attempts=ATTEMPTS
    )
    yield worker
    worker.close()


def asked(local: LocalWorker) -> Job:
    checks: dict[str, Any] = {"near_duplicates": True}
    request = {"model": "fashion-cgan", "samples_per_class": {"bag": 40}, "checks": checks}
    return local.ask(JobRequest.model_validate(request))


def whole(local: LocalWorker, job: Job) -> None:
    """All that is left to do."""
    local.run_shards(job)
    local.finalize(job)


def ended(local: LocalWorker, job: Job, times: int) -> None:
    """So many workers begin where the last one was ended, and are ended there too."""
    for _ in range(times):
        with pytest.raises(WorkerEndedError):
            whole(local, job)


def row_of(local: LocalWorker, job: Job) -> Any:
    columns = sa.select(Job.state, Job.problem, Job.comparisons).where(Job.number == job.number)
    with local.context.transaction() as session:
        return session.execute(columns).one()


def test_a_step_that_ends_every_worker_is_given_up(local: LocalWorker) -> None:
    for where, name, sentence in STEPS.values():
        job = asked(local)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, name, _end)
            ended(local, job, ATTEMPTS)
            whole(local, job)
        found = row_of(local, job)
        assert (found.state, found.problem["type"]) == ("failed", "/problems/shard-gave-up")
        assert found.problem["detail"].startswith(f"{sentence} {ATTEMPTS} times")


def test_one_that_was_ended_less_often_goes_on(local: LocalWorker) -> None:
    job = asked(local)
    for where, name, _ in STEPS.values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, name, _end)
            ended(local, job, ATTEMPTS - 1)
    whole(local, job)
    assert row_of(local, job).state == "succeeded"


def test_each_comparison_has_attempts_of_its_own(
    local: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare, begun = comparing.repeated, 0

    def ended_first(*arguments: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun % 2:
            raise WorkerEndedError
        return compare(*arguments)

    monkeypatch.setattr(comparing, "repeated", ended_first)
    job = asked(local)
    while row_of(local, job).state in ("queued", "running"):
        with suppress(WorkerEndedError):
            whole(local, job)
    assert row_of(local, job).state == "succeeded"
    assert begun > 2 * ATTEMPTS


def _end(*arguments: object) -> None:
    raise WorkerEndedError


def _one_of_few(
    self: FakeEngine, model: str, z: NDArray[np.float32], labels: object, batch: int
) -> FakeBatch:
    chosen = [latent.tobytes()[0] % len(PICTURES) for latent in z]
    return FakeBatch(PICTURES[chosen], np.ones(len(z), bool))
