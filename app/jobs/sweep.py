"""What ended jobs and silent workers leave behind, and how it goes away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db.session import connection_name, cut_off, now
from app.db.tables import (
    NOT_STORED,
    TERMINAL,
    Archive,
    Job,
    JobReport,
    JobState,
    Sample,
    Shard,
    Worker,
)
from app.jobs.dispatch import Dispatcher, Running
from app.storage import LocalStorage

Transaction = Callable[[], AbstractContextManager[Session]]
log = logging.getLogger(__name__)


def take_over_silent_workers(
    transaction: Transaction, dispatcher: Dispatcher, running: Running, lease_seconds: float
) -> list[str]:
    """Queue again what workers that stopped their heartbeat were running; returns their ids.

    A worker writes its first heartbeat before it takes work, so one without any is gone too, if
    `running` was read before. What they have locked is set free first, where the database can do
    that.
    """
    with transaction() as session:
        deadline = now(session) - timedelta(seconds=lease_seconds)
        late = session.execute(sa.select(Worker.id, Worker.pid).where(Worker.seen_at < deadline))
        cut_off(session, [connection_name(worker_id, pid) for worker_id, pid in late])
        session.execute(sa.delete(Worker).where(Worker.seen_at < deadline))
        alive = set(session.execute(sa.select(Worker.id)).scalars())
    silent: list[str] = []
    for worker_id, taken in running.items():
        if worker_id in alive:
            continue
        for queue, workflows in taken.items():
            log.warning(
                "worker %s is silent; %d of its %s run again", worker_id, len(workflows), queue
            )
            dispatcher.run_again(workflows, queue)
        silent.append(worker_id)
    return silent


def sweep_ended_jobs(
    transaction: Transaction, dispatcher: Dispatcher, storage: LocalStorage
) -> list[str]:
    """Clean up behind jobs that have ended since the last sweep; returns their ids.

    A succeeded job keeps its archives, shards and rows; a failed or cancelled one keeps only
    its job row and problem, and the report of one that did not pass its gate. The engine's rows
    go in both cases.
    """
    with transaction() as session:
        ended = session.execute(
            sa.select(Job.number, Job.id, Job.state)
            .where(Job.state.in_([s.value for s in TERMINAL]), Job.swept_at.is_(None))
            .order_by(Job.number)
            .limit(100)
        ).all()
    for number, job_id, state in ended:
        if state != JobState.SUCCEEDED:
            _forget_samples(transaction, number)
        forgotten = dispatcher.forget(job_id)
        remove_unreferenced(transaction, storage, job_id)
        if forgotten:
            with transaction() as session:
                session.execute(
                    sa.update(Job).where(Job.number == number).values(swept_at=now(session))
                )
    return [job_id for _, job_id, _ in ended]


def remove_orphans(transaction: Transaction, storage: LocalStorage) -> int:
    """Remove files of swept jobs that no row names; returns how many.

    A run that was killed after it lost its shard can leave one even behind a sweep.
    """
    job_ids = {key.split("/")[1] for key in storage.list("jobs")}
    removed = 0
    for job_id in sorted(job_ids):
        with transaction() as session:
            swept = session.execute(
                sa.select(sa.func.count()).where(Job.id == job_id, Job.swept_at.is_(None))
            ).scalar_one()
        if not swept:
            removed += remove_unreferenced(transaction, storage, job_id)
    return removed


def remove_unreferenced(transaction: Transaction, storage: LocalStorage, job_id: str) -> int:
    """Remove the files of an ended job that no row names; returns how many."""
    with transaction() as session:
        number = session.execute(sa.select(Job.number).where(Job.id == job_id)).scalar()
        kept: set[str | None] = set()
        for named in (Shard.object_key, Shard.rows_key):
            kept |= set(
                session.execute(
                    sa.select(named).where(Shard.job_number == number, named.is_not(None))
                ).scalars()
            )
        kept.add(session.execute(sa.select(Job.real_rows_key).where(Job.id == job_id)).scalar())
        for named in (JobReport.json_key, JobReport.html_key):
            kept |= set(
                session.execute(sa.select(named).where(JobReport.job_number == number)).scalars()
            )
        kept |= set(
            session.execute(
                sa.select(Archive.object_key).where(Archive.job_number == number)
            ).scalars()
        )
    removed = 0
    for key in list(storage.list(f"jobs/{job_id}")):
        if key not in kept:
            storage.delete(key)
            removed += 1
    storage.prune(f"jobs/{job_id}")
    return removed


def _forget_samples(transaction: Transaction, job_number: int) -> None:
    """Rows first: a row must never name a file that is gone. Shard by shard, to lock briefly."""
    with transaction() as session:
        stored = session.execute(
            sa.select(Shard.index).where(Shard.job_number == job_number, Shard.done_at.is_not(None))
        ).scalars()
        indices = list(stored)
    for index in indices:
        with transaction() as session:
            session.execute(
                sa.delete(Sample).where(Sample.job_number == job_number, Sample.shard == index)
            )
            session.execute(
                sa.update(Shard)
                .where(Shard.job_number == job_number, Shard.index == index)
                .values(
                    **NOT_STORED,
                )
            )
