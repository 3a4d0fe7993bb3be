"""The last step of a job: archives from its shards, then `succeeded`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue
from app.datasets.imagefolder import ShardFile, write_imagefolder
from app.datasets.rows import manifest_of
from app.db.tables import Job, JobState, Shard
from app.errors import JobStoppedError, PoisonShardError
from app.jobs import lifecycle
from app.jobs.plan import Plan
from app.storage import LocalStorage

Transaction = Callable[[], AbstractContextManager[Session]]
_LOOK_SECONDS = 0.5


def finalize_job(
    transaction: Transaction, storage: LocalStorage, job_number: int, most_attempts: int
) -> None:
    """Build every archive that the job asked for and publish them together.

    Running it twice is harmless: each run writes files of its own, and one run publishes.
    """
    with transaction() as session:
        job = lifecycle.begin_finalization(session, job_number)
    if job is None:
        return
    if job.finalizations > most_attempts:
        raise PoisonShardError(
            f"Building the archives was begun {most_attempts} times and never finished: it seems "
            "to end the worker that runs it. Look into the worker's log, then submit again."
        )
    archives: list[lifecycle.StoredArchive] = []
    published = False
    try:
        for archive_format in job.formats:
            archives.append(_build(transaction, storage, job, archive_format))
        with transaction() as session:
            published = lifecycle.succeed(session, job_number, archives)
    finally:
        if not published:
            for archive in archives:
                storage.delete(archive.object_key)


def _build(
    transaction: Transaction, storage: LocalStorage, job: Job, archive_format: str
) -> lifecycle.StoredArchive:
    began = time.perf_counter()
    key = f"jobs/{job.id}/archives/{archive_format}.{secrets.token_hex(8)}.zip"
    with transaction() as session:
        licences = _licences(session, job)
    manifest = manifest_of(job, storage)
    with storage.create(key) as writer:
        entries = write_imagefolder(
            writer,
            storage,
            manifest.plan,
            licences,
            _shards(transaction, job.number),
            manifest.digests(transaction),
            _Watch(transaction, job.number),
        )
    return lifecycle.StoredArchive(
        archive_format, key, writer.bytes, writer.sha256, entries, time.perf_counter() - began
    )


def _licences(session: Session, job: Job) -> list[str]:
    plan = Plan.from_json(job.plan)
    found = [catalogue.by_content(session, job.tenant_id, model.sha256) for model in plan.models]
    return [model.spec["licence"] if model else "unknown" for model in found]


def _shards(transaction: Transaction, job_number: int, page_size: int = 500) -> Iterator[ShardFile]:
    after = -1
    while True:
        with transaction() as session:
            page = session.execute(
                sa.select(Shard.index, Shard.object_key, Shard.sha256)
                .where(Shard.job_number == job_number, Shard.index > after)
                .order_by(Shard.index)
                .limit(page_size)
            ).all()
        for index, object_key, sha256 in page:
            assert object_key is not None
            assert sha256 is not None
            yield ShardFile(object_key, sha256)
            after = index
        if len(page) < page_size:
            return


class _Watch:
    """Stops a finalization whose job was cancelled; looks at the database now and then."""

    def __init__(self, transaction: Transaction, job_number: int) -> None:
        self._transaction = transaction
        self._job_number = job_number
        self._next_look = 0.0

    def __call__(self) -> None:
        if time.monotonic() < self._next_look:
            return
        with self._transaction() as session:
            state = session.execute(
                sa.select(Job.state).where(Job.number == self._job_number)
            ).scalar_one()
        if state != JobState.FINALIZING:
            raise JobStoppedError(f"The job is {state}.")
        self._next_look = time.monotonic() + _LOOK_SECONDS
