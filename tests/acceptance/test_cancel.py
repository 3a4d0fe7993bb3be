"""Cancelling at every stage, and racing with the end: one terminal state, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.db.tables import Archive, Job, Sample, Shard
from app.errors import NotCancellableError
from app.jobs import archiving, lifecycle, work
from app.jobs.sweep import sweep_ended_jobs
from app.jobs.work import WorkerStoppingError
from app.storage import LocalStorage
from tests.harness import Server, follow, serving, submit, wait_for
from tests.local_worker import FakeEngine, LocalWorker

ROUNDS = 10


@pytest.fixture(params=[0, 1_000], ids=["rows in files", "rows in database"])
def local(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str
) -> Iterator[LocalWorker]:
    worker = LocalWorker(
        tmp_path,
        database_url,
        shard_samples=20,
        engine_batch=16,
        rows_in_database_up_to=request.param,
    )
    yield worker
    worker.close()


def test_cancelled_before_it_began(local: LocalWorker) -> None:
    job = local.submit({"bag": 60})
    _cancel(local, job)
    local.run_shards(job)
    assert local.state(job) == "cancelled"
    _assert_nothing_left(local, job)


def test_cancelled_between_shards(local: LocalWorker) -> None:
    job = local.submit({"bag": 60})
    local.run_shards(job, range(1))
    assert local.stored_shards(job) == 1
    _cancel(local, job)
    local.run_shards(job, range(1, 3))
    assert local.state(job) == "cancelled"
    _assert_nothing_left(local, job)


def test_cancelled_in_the_middle_of_a_shard(
    local: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = local.submit({"bag": 20})
    _after_first_batch(monkeypatch, lambda: _cancel(local, job))
    local.run_shards(job)
    assert local.state(job) == "cancelled"
    assert local.stored_shards(job) == 0
    _assert_nothing_left(local, job)


def test_cancelled_while_its_archive_is_built(
    local: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = local.submit({"bag": 60})
    local.run_shards(job)
    assert local.state(job) == "finalizing"
    monkeypatch.setattr(archiving, "_LOOK_SECONDS", 0.0)
    read, cancelled = LocalStorage.open, threading.Event()

    def open_and_cancel(storage: LocalStorage, key: str) -> object:
        if not cancelled.is_set():
            cancelled.set()
            _cancel(local, job)
        return read(storage, key)

    monkeypatch.setattr(LocalStorage, "open", open_and_cancel)
    local.finalize(job)
    assert cancelled.is_set()
    assert local.state(job) == "cancelled"
    _assert_nothing_left(local, job)


def test_a_run_that_its_stopping_worker_ends_is_not_counted(
    local: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = local.submit({"bag": 20})
    _after_first_batch(monkeypatch, local.context.stopping.set)
    for _ in range(local.settings.shard_attempts + 5):
        with pytest.raises(WorkerStoppingError):
            local.run_shards(job)
    local.context.stopping.clear()
    local.run_shards(job)
    local.finalize(job)
    assert local.state(job) == "succeeded"


def test_cancelling_again_changes_nothing_and_a_finished_job_stays(local: LocalWorker) -> None:
    cancelled, finished = local.submit({"bag": 20}), local.submit({"bag": 20})
    _cancel(local, cancelled)
    _cancel(local, cancelled)
    assert local.state(cancelled) == "cancelled"
    local.run_shards(finished)
    local.finalize(finished)
    with pytest.raises(NotCancellableError, match="succeeded already"):
        _cancel(local, finished)
    assert local.state(finished) == "succeeded"


@pytest.mark.parametrize("stage", ["last shard", "archive"])
def test_of_a_cancel_and_the_end_exactly_one_happens(local: LocalWorker, stage: str) -> None:
    outcomes = [_race(local, stage) for _ in range(ROUNDS)]
    for job, state in outcomes:
        assert state in ("cancelled", "succeeded"), state
        if state == "cancelled":
            _assert_nothing_left(local, job)
    sweep_ended_jobs(local.context.transaction, local.context.dispatcher, local.storage)
    succeeded = [job.id for job, state in outcomes if state == "succeeded"]
    assert {key.split("/")[1] for key in local.files()} == set(succeeded)


def test_the_service_cancels_a_running_job_and_removes_its_files(tmp_path: Path) -> None:
    settings = {"shard_samples": 500, "shard_window": 2}
    with serving(tmp_path, **settings) as server, server.client() as client:
        job = submit(client, {"model": "fashion-cgan", "samples_per_class": 20_000})
        wait_for("a stored shard", lambda: _shards_done(server, job["id"]) > 0, 120)
        answer = client.post(f"/v1/jobs/{job['id']}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        again = client.post(f"/v1/jobs/{job['id']}/cancel")
        assert (again.status_code, again.json()["state"]) == (200, "cancelled")
        folder = tmp_path / "objects" / "jobs" / job["id"]
        wait_for("an empty job folder", lambda: not folder.exists(), 30)
        assert follow(client, job["id"]).job["state"] == "cancelled"
        assert client.get(f"/v1/jobs/{job['id']}/manifest").json()["samples"] == []
        problem = client.get(f"/v1/jobs/{job['id']}/archives/imagefolder")
        assert (problem.status_code, problem.json()["type"]) == (409, "/problems/archive-not-ready")


def _cancel(local: LocalWorker, job: Job) -> None:
    with local.context.transaction() as session:
        found = session.execute(sa.select(Job).where(Job.number == job.number)).scalar_one()
        lifecycle.cancel(session, local.context.dispatcher, found)


def _race(local: LocalWorker, stage: str) -> tuple[Job, str]:
    job = local.submit({"bag": 20})
    if stage == "archive":
        local.run_shards(job)
    barrier = threading.Barrier(2)

    def cancel() -> None:
        barrier.wait()
        try:
            _cancel(local, job)
        except NotCancellableError:
            return

    racer = threading.Thread(target=cancel)
    racer.start()
    barrier.wait()
    local.run_shards(job)
    local.finalize(job)
    racer.join()
    return job, local.state(job)


def _after_first_batch(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    acted = threading.Event()

    original = FakeEngine.generate

    def generate_and_act(self: FakeEngine, *arguments: object) -> object:
        batch = original(self, *arguments)  # type: ignore[arg-type]
        if not acted.is_set():
            acted.set()
            act()
        return batch

    monkeypatch.setattr(work, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(FakeEngine, "generate", generate_and_act)


def _assert_nothing_left(local: LocalWorker, job: Job) -> None:
    sweep_ended_jobs(local.context.transaction, local.context.dispatcher, local.storage)
    assert not [key for key in local.files() if key.split("/")[1] == job.id]
    with local.context.transaction() as session:
        for table in (Sample, Archive):
            count = sa.select(sa.func.count()).select_from(table)
            assert session.execute(count.where(table.job_number == job.number)).scalar_one() == 0
        named = sa.select(Shard.object_key).where(
            Shard.job_number == job.number, Shard.object_key.is_not(None)
        )
        assert session.execute(named).all() == []


def _shards_done(server: Server, job_id: str) -> int:
    with server.client() as client:
        return int(client.get(f"/v1/jobs/{job_id}").json()["progress"]["shards_done"])
