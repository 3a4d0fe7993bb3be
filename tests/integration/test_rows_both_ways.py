"""Manifest rows in the database and in files: the same answers, and nothing left behind.

The generator is a fake and the durable engine a loop; all else is what a worker runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.datasets import parquet_rows
from app.datasets.rows import manifest_of
from app.db.tables import Job, RowsIn, Sample, Shard
from app.jobs import lifecycle
from app.jobs.sweep import remove_orphans, sweep_ended_jobs
from app.settings import Settings
from app.storage import LocalStorage
from tests.local_worker import LocalWorker
from tests.service import Service, opened

QUOTAS = {"sandal": 90, "bag": 130, "coat": 31, "dress": 4}
SAMPLES = sum(QUOTAS.values())
UP_TO = {RowsIn.DATABASE: SAMPLES, RowsIn.PARQUET: SAMPLES - 1}
"""The setting at which the job's rows just stay in the database, and just do not."""


@contextmanager
def working(service: Service, rows_in: RowsIn) -> Iterator[LocalWorker]:
    """A worker on the service's database, whose jobs of `QUOTAS` keep their rows there."""
    where = service.settings
    settings = {"shard_samples": 40, "engine_batch": 16}
    worker = LocalWorker(
        where.data_dir,
        where.database_url,
        rows_in_database_up_to=UP_TO[rows_in],
        **settings,
    )
    try:
        yield worker
    finally:
        worker.close()


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several row groups in the shards of a test."""
    monkeypatch.setattr(parquet_rows, "ROWS_A_GROUP", 16)


def finished(service: Service, rows_in: RowsIn, shards: range | None = None) -> Job:
    """A job whose shards (all of them by default) were stored at one known moment."""
    with working(service, rows_in) as worker:
        job = worker.submit(QUOTAS)
        worker.run_shards(job, shards)
        if shards is None:
            worker.finalize(job)
            assert worker.state(job) == "succeeded"
        with worker.context.transaction() as session:
            session.execute(
                sa.update(Shard)
                .where(Shard.job_number == job.number, Shard.done_at.is_not(None))
                .values(done_at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC))
            )
    return job


def rows_files(service: Service, job: Job) -> list[Path]:
    return sorted((service.settings.objects_dir / "jobs" / job.id / "shards").glob("*.parquet"))


def rows_in_database(service: Service, job: Job) -> int:
    count = sa.select(sa.func.count()).where(Sample.job_number == job.number)
    with service.database.connect() as connection:
        return connection.execute(count).scalar_one()


def answers(service: Service, job: Job) -> dict[str, bytes]:
    """Everything that the API says of a job's rows, by what was asked."""
    base = f"/v1/jobs/{job.id}"
    asked = [f"{base}/manifest.ndjson", f"{base}/manifest.parquet", f"{base}/preview.png"]
    asked += [f"{base}/manifest?limit=1000&class={name}" for name in QUOTAS]
    asked += [f"{base}/samples/{index}" for index in (0, 1, 41, 100, SAMPLES - 1, SAMPLES, 2**61)]
    found = {url: service.client.get(url).content for url in asked}
    for limit in (7, 40, 100, 1000):
        token: str | None = ""
        while token is not None:
            after = f"&after={token}" if token else ""
            url = f"{base}/manifest?limit={limit}{after}"
            answer = service.client.get(url)
            assert answer.status_code == 200
            found[url], token = answer.content, answer.json()["next"]
    return {
        url.removeprefix(base): content.replace(job.id.encode(), b"<job>")
        for url, content in found.items()
    }


@pytest.mark.parametrize("shards", [None, range(1), range(2, 5)], ids=["all", "first", "middle"])
def test_both_ways_give_the_same_answers(service: Service, shards: range | None) -> None:
    jobs = {where: finished(service, where, shards) for where in RowsIn}
    in_database, in_files = (jobs[where] for where in RowsIn)
    stored = in_database.shards if shards is None else len(shards)
    assert rows_in_database(service, in_database) > 0
    assert rows_files(service, in_database) == []
    assert rows_in_database(service, in_files) == 0
    assert len(rows_files(service, in_files)) == stored

    def without_request(content: bytes) -> object:
        return hashlib.sha256(content).hexdigest() if b"urn:synthloom" not in content else "problem"

    one, other = (answers(service, job) for job in (in_database, in_files))
    assert {k: without_request(v) for k, v in one.items()} == {
        k: without_request(v) for k, v in other.items()
    }
    lines = one["/manifest.ndjson"].splitlines()
    assert len(lines) == rows_in_database(service, in_database)
    if shards is None:
        assert len(lines) == SAMPLES


def test_archives_are_the_same_bytes(service: Service) -> None:
    found = []
    for where in RowsIn:
        job = finished(service, where)
        answer = service.client.get(f"/v1/jobs/{job.id}/archives/imagefolder")
        assert answer.status_code == 200
        found.append(hashlib.sha256(answer.content).hexdigest())
    assert found[0] == found[1]


@pytest.mark.parametrize("submitted", list(RowsIn))
@pytest.mark.parametrize("later", list(RowsIn))
def test_a_setting_that_changes_on_the_way_parts_nothing(
    service: Service, submitted: RowsIn, later: RowsIn
) -> None:
    job = finished(service, submitted, range(1))
    with working(service, later) as worker:
        worker.run_shards(job, range(1, job.shards))
        worker.finalize(job)
        assert worker.state(job) == "succeeded"
    in_files = submitted == RowsIn.PARQUET
    assert len(rows_files(service, job)) == (job.shards if in_files else 0)
    assert rows_in_database(service, job) == (0 if in_files else SAMPLES)
    lines = service.client.get(f"/v1/jobs/{job.id}/manifest.ndjson").content.splitlines()
    assert len(lines) == SAMPLES


@pytest.mark.parametrize("rows_in", list(RowsIn))
def test_a_cancelled_job_leaves_neither_rows_nor_files(service: Service, rows_in: RowsIn) -> None:
    job = finished(service, rows_in, range(3))
    with working(service, rows_in) as worker:
        with worker.context.transaction() as session:
            lifecycle.cancel(session, worker.context.dispatcher, session.get_one(Job, job.number))
        sweep_ended_jobs(worker.context.transaction, worker.context.dispatcher, worker.storage)
        assert not [key for key in worker.files() if job.id in key]
    assert rows_in_database(service, job) == 0
    page = service.client.get(f"/v1/jobs/{job.id}/manifest")
    assert page.json() == {"samples": [], "next": None, "refused": {}, "copies": None}
    with service.database.connect() as connection:
        named = sa.select(Shard).where(Shard.job_number == job.number, Shard.rows_key.is_not(None))
        assert connection.execute(named).all() == []


def test_a_crash_between_file_and_row_leaves_an_orphan_that_is_swept(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(service, RowsIn.PARQUET) as worker:
        job = worker.submit({"bag": SAMPLES})
        real = lifecycle.commit_shard

        def crash(*_: object) -> bool:
            raise SystemExit  # as if the process ended: nothing catches it

        monkeypatch.setattr(lifecycle, "commit_shard", crash)
        with pytest.raises(SystemExit):
            worker.run_shards(job, range(1))
        assert len(rows_files(service, job)) == 1
        monkeypatch.setattr(lifecycle, "commit_shard", real)
        worker.run_shards(job)
        worker.finalize(job)
        assert worker.state(job) == "succeeded"
        assert len(rows_files(service, job)) == job.shards + 1
        sweep_ended_jobs(worker.context.transaction, worker.context.dispatcher, worker.storage)
        remove_orphans(worker.context.transaction, worker.storage)
        with worker.context.transaction() as session:
            named = sa.select(Shard.rows_key).where(Shard.job_number == job.number)
            kept = set(session.execute(named).scalars())
        assert {key for key in worker.files() if job.id in key and "parquet" in key} == kept
        assert len(kept) == job.shards


def test_a_run_that_lost_its_shard_takes_its_files_along(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(service, RowsIn.PARQUET) as worker:
        job = worker.submit({"bag": SAMPLES})
        real = lifecycle.commit_shard

        def taken_before(session: Any, dispatcher: Any, lease: Any, stored: Any) -> bool:
            monkeypatch.setattr(lifecycle, "commit_shard", real)
            assert lifecycle.begin_shard(session, job.number, 0, "another", 10) is not None
            return lifecycle.commit_shard(session, dispatcher, lease, stored)

        monkeypatch.setattr(lifecycle, "commit_shard", taken_before)
        worker.run_shards(job, range(1))
        assert not [key for key in worker.files() if job.id in key]
        worker.run_shards(job)
        worker.finalize(job)
        assert worker.state(job) == "succeeded"


# Files that are not what was written


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def empty(path: Path) -> None:
    path.write_bytes(b"")


BROKEN = [
    (Path.unlink, "object-missing"),
    (flip, "rows-damaged"),
    (cut, "rows-damaged"),
    (empty, "rows-damaged"),
]


@pytest.mark.parametrize(("harm", "problem"), BROKEN)
def test_a_broken_file_of_rows_is_a_problem_that_says_so(
    service: Service, harm: Any, problem: str
) -> None:
    job = finished(service, RowsIn.PARQUET)
    harm(rows_files(service, job)[0])
    base = f"/v1/jobs/{job.id}"
    for asked in ("manifest", "manifest.ndjson", "manifest.parquet", "samples/0", "preview.png"):
        answer = service.client.get(f"{base}/{asked}")
        assert answer.status_code == 503, asked
        assert answer.json()["type"] == f"/problems/{problem}"
        assert "Restore the storage" in answer.json()["detail"]
    assert service.client.get(f"{base}/samples/{SAMPLES - 1}").status_code == 200
    assert service.client.get(f"{base}/archives/imagefolder").status_code == 200


@pytest.mark.parametrize(("harm", "problem"), BROKEN)
def test_a_broken_file_of_rows_fails_the_archive_with_that_problem(
    service: Service, harm: Any, problem: str
) -> None:
    with working(service, RowsIn.PARQUET) as worker:
        job = worker.submit(QUOTAS)
        worker.run_shards(job)
        harm(rows_files(service, job)[2])
        worker.finalize(job)
        assert worker.state(job) == "failed"
        with worker.context.transaction() as session:
            ended = session.get_one(Job, job.number)
        assert ended.problem is not None
        assert ended.problem["type"] == f"/problems/{problem}"
        sweep_ended_jobs(worker.context.transaction, worker.context.dispatcher, worker.storage)
        assert not [key for key in worker.files() if job.id in key]


def test_a_page_opens_only_the_files_it_needs(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(service, RowsIn.PARQUET)
    opened: list[str] = []
    read = LocalStorage.read

    def noted(storage: LocalStorage, key: str, *where: int) -> bytes:
        opened.append(key)
        return read(storage, key, *where)

    monkeypatch.setattr(LocalStorage, "read", noted)
    storage = LocalStorage(service.settings.objects_dir)
    manifest = manifest_of(job, storage)
    with working(service, RowsIn.PARQUET) as worker, worker.context.transaction() as session:
        for after, limit, files in ((-1, 5, 1), (100, 5, 1), (-1, SAMPLES, job.shards)):
            opened.clear()
            assert len(manifest.page(session, after, limit)) == limit
            assert len(opened) == files
        opened.clear()
        rare = manifest.page(session, -1, 1000, "dress")
        assert len(rare) == QUOTAS["dress"]
        assert len(opened) == len({row["shard"] for row in rare}) < job.shards
        opened.clear()
        assert manifest.page(session, SAMPLES - 1, 10) == []
        assert opened == []


def test_rows_that_are_swept_while_they_are_read_are_no_problem(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(service, RowsIn.PARQUET, range(3))
    with working(service, RowsIn.PARQUET) as worker:
        with worker.context.transaction() as session:
            lifecycle.cancel(session, worker.context.dispatcher, session.get_one(Job, job.number))
        read, swept = LocalStorage.read, []

        def swept_first(storage: LocalStorage, key: str, *where: int) -> bytes:
            if not swept:
                swept.append(key)
                parts = worker.context
                sweep_ended_jobs(parts.transaction, parts.dispatcher, parts.storage)
            return read(storage, key, *where)

        monkeypatch.setattr(LocalStorage, "read", swept_first)
        answer = service.client.get(f"/v1/jobs/{job.id}/manifest")
    assert len(swept) == 1
    assert (answer.status_code, answer.json()["samples"]) == (200, [])


def test_the_setting_decides_at_submission(tmp_path: Path, database_url: str) -> None:
    settings = Settings(
        data_dir=tmp_path, database_url=database_url, rows_in_database_up_to=4, _env_file=None
    )
    with opened(settings) as service:
        for samples, place in ((4, "database"), (5, "parquet")):
            body = {"model": "fashion-cgan", "samples_per_class": {"bag": samples}}
            job_id = service.client.post("/v1/jobs", json=body).json()["id"]
            with service.database.connect() as connection:
                query = sa.select(Job.rows_in).where(Job.id == job_id)
                assert connection.execute(query).scalar_one() == place
