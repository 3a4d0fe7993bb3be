"""The only writer of job state. Every transition is one function and one transaction.

    queued ──> running ──> finalizing ──> succeeded
       └──────────┴────────────┴──> failed | cancelled

Each is conditional on the state expected, so of two that race exactly one happens.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from app.datasets.database_rows import insert_samples
from app.datasets.manifest import Records
from app.datasets.parquet_rows import RowsFile
from app.db.session import now
from app.db.tables import LIVE, Job, JobState, RowsIn, Shard
from app.errors import NotCancellableError, PoisonShardError
from app.jobs.dispatch import Dispatcher
from app.jobs.ending import add_archives, add_report, announce
from app.jobs.formats import Kept
from app.jobs.lease import Lease
from app.jobs.plan import Plan
from app.jobs.refusals import add_refusals
from app.quality.gate import Condition, GateOutcome


@dataclass(frozen=True, slots=True)
class StoredShard:
    """A shard file that is stored, and what is in it."""

    rows: Records
    bytes: int
    sha256: str
    refused: int
    seconds: float
    environment: dict[str, Any]
    work: dict[str, Any]
    rows_file: RowsFile | None = None
    """Where the rows are, when they are not for the database."""


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """An archive file that is stored."""

    format: str
    object_key: str
    bytes: int
    sha256: str
    entries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report that is stored as JSON and as HTML; `gate` says whether the job may succeed."""

    verdict: str
    gate: GateOutcome | None
    json_key: str
    json_bytes: int
    json_sha256: str
    html_key: str
    html_bytes: int
    html_sha256: str
    seconds: float

    @property
    def keys(self) -> tuple[str, str]:
        """Of both objects."""
        return self.json_key, self.html_key


def submit(
    session: Session,
    dispatcher: Dispatcher,
    *,
    tenant_id: str,
    plan: Plan,
    formats: list[Kept],
    window: int,
    fingerprint: str,
    idempotency_key: str | None,
    rows_in: RowsIn = RowsIn.DATABASE,
    report: dict[str, Any] | None = None,
    gate: Sequence[Condition] = (),
    webhook: str | None = None,
) -> Job:
    """Write the job, its ledger of shards and its first queued shards: one transaction."""
    job = Job(
        id=f"job_{secrets.token_hex(10)}",
        tenant_id=tenant_id,
        state=JobState.QUEUED.value,
        plan=plan.to_json(),
        formats=formats,
        samples=plan.samples,
        shards=plan.shards,
        shard_window=window,
        rows_in=rows_in.value,
        report_asked=report,
        gate=[str(condition) for condition in gate] or None,
        webhook={"url": webhook} if webhook else None,
        samples_done=0,
        shards_done=0,
        refused=0,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        created_at=now(session),
        archives=[],
        report=None,
    )
    session.add(job)
    session.flush()
    session.execute(
        sa.insert(Shard),
        [{"job_number": job.number, "index": index} for index in range(plan.shards)],
    )
    for index in range(min(window, plan.shards)):
        dispatcher.shard(session, tenant_id, (job.number, job.id), index)
    return job


def begin_shard(
    session: Session, job_number: int, index: int, worker_id: str, most_attempts: int
) -> Lease | None:
    """Take a shard; None when there is nothing to do any more.

    Raises PoisonShardError when the shard was begun too often without being finished.
    """
    token = secrets.token_hex(8)
    taken = session.execute(
        sa.update(Shard)
        .where(Shard.job_number == job_number, Shard.index == index, Shard.done_at.is_(None))
        .values(token=token, worker_id=worker_id, attempts=Shard.attempts + 1, drawn=0)
        .returning(Shard.attempts, Shard.work)
    ).one_or_none()
    if taken is None:
        return None
    moment = now(session)
    _transition(session, job_number, (JobState.QUEUED,), JobState.RUNNING, started_at=moment)
    job = session.execute(sa.select(Job).where(Job.number == job_number)).scalar_one()
    if job.state != JobState.RUNNING:
        return None
    if taken.attempts > most_attempts:
        raise PoisonShardError(
            f"Shard {index} was begun {most_attempts} times and never finished: it seems to end "
            "the worker that runs it. Look into the worker's log, then submit the job again.",
            shard=index,
        )
    plan = Plan.from_json(job.plan)
    return Lease(
        job_number=job_number,
        job_id=job.id,
        tenant_id=job.tenant_id,
        shard=index,
        token=token,
        plan=plan,
        window=job.shard_window,
        rows_in=RowsIn(job.rows_in),
        barred=tuple(np.array(b, np.int64) for b in (taken.work or {}).get("barred", ())),
    )


def give_back_attempt(session: Session, lease: Lease) -> None:
    """Do not count a run that was stopped from outside."""
    session.execute(
        sa.update(Shard)
        .where(
            Shard.job_number == lease.job_number,
            Shard.index == lease.shard,
            Shard.token == lease.token,
        )
        .values(attempts=Shard.attempts - 1)
    )


def report_progress(session: Session, lease: Lease, drawn: int) -> bool:
    """Note how many samples a run has so far. False: the run lost its shard or its job."""
    changed = session.execute(
        sa.update(Shard)
        .where(
            Shard.job_number == lease.job_number,
            Shard.index == lease.shard,
            Shard.token == lease.token,
            Shard.done_at.is_(None),
            sa.exists().where(Job.number == lease.job_number, Job.state == JobState.RUNNING.value),
        )
        .values(drawn=drawn)
    )
    return _count(changed) == 1


def commit_shard(
    session: Session, dispatcher: Dispatcher, lease: Lease, stored: StoredShard
) -> bool:
    """Rows, ledger and what is queued next: one transaction.

    False, with nothing written: the job has ended, or another run has taken the shard. It does
    not raise, because the engine would keep an exception as the result of this step for ever.
    """
    if not lock_running(session, lease.job_number) or not _mark_done(session, lease, stored):
        return False
    if stored.rows_file is None:
        insert_samples(session, lease.job_number, lease.shard, stored.rows)
    shards_done = session.execute(
        sa.update(Job)
        .where(Job.number == lease.job_number)
        .values(
            shards_done=Job.shards_done + 1,
            samples_done=Job.samples_done + len(stored.rows),
            refused=Job.refused + stored.refused,
        )
        .returning(Job.shards_done)
    ).scalar_one()
    add_refusals(session, lease.job_number, stored.work.get("refused", {}))
    job = (lease.job_number, lease.job_id)
    if shards_done == lease.plan.shards and lease.compared:
        dispatcher.comparison(session, lease.tenant_id, job, len(lease.barred))
    elif shards_done == lease.plan.shards:
        begin_finalizing(session, dispatcher, lease.tenant_id, job)
    elif not lease.barred and lease.shard + lease.window < lease.plan.shards:
        dispatcher.shard(session, lease.tenant_id, job, lease.shard + lease.window)
    return True


def begin_finalizing(
    session: Session, dispatcher: Dispatcher, tenant_id: str, job: tuple[int, str]
) -> None:
    """A running job (number, id) has all its samples: queue its last step."""
    _transition(session, job[0], (JobState.RUNNING,), JobState.FINALIZING)
    dispatcher.finalization(session, tenant_id, job)


def lock_running(session: Session, job_number: int) -> bool:
    """Hold a running job as it is until the transaction ends. An update, because that locks on
    every database, where SQLite has no SELECT … FOR UPDATE."""
    locked = session.execute(
        sa.update(Job)
        .where(Job.number == job_number, Job.state == JobState.RUNNING.value)
        .values(state=Job.state)
    )
    return _count(locked) == 1


def _mark_done(session: Session, lease: Lease, stored: StoredShard) -> bool:
    rows = stored.rows_file
    done = session.execute(
        sa.update(Shard)
        .where(
            Shard.job_number == lease.job_number,
            Shard.index == lease.shard,
            Shard.token == lease.token,
            Shard.done_at.is_(None),
        )
        .values(
            done_at=now(session),
            object_key=lease.object_key,
            bytes=stored.bytes,
            sha256=stored.sha256,
            rows_key=rows.object_key if rows else None,
            rows_bytes=rows.bytes if rows else None,
            rows_sha256=rows.sha256 if rows else None,
            refused=stored.refused,
            drawn=len(stored.rows),
            seconds=stored.seconds,
            environment=stored.environment,
            work=stored.work,
        )
    )
    return _count(done) == 1


def begin_finalization(session: Session, job_number: int) -> Job | None:
    """Count a run of the last step; None when there is nothing to finalize any more."""
    session.execute(
        sa.update(Job)
        .where(Job.number == job_number, Job.state == JobState.FINALIZING.value)
        .values(finalizations=Job.finalizations + 1)
    )
    return session.execute(
        sa.select(Job).where(Job.number == job_number, Job.state == JobState.FINALIZING.value)
    ).scalar_one_or_none()


def succeed(
    session: Session,
    dispatcher: Dispatcher,
    job_number: int,
    archives: Sequence[StoredArchive],
    report: StoredReport,
) -> bool:
    """Publish archives and report and end the job. False: it has ended already."""
    moment = now(session)
    if not _transition(
        session, job_number, (JobState.FINALIZING,), JobState.SUCCEEDED, finished_at=moment
    ):
        return False
    add_archives(session, job_number, archives, moment)
    add_report(session, job_number, report, moment)
    announce(session, dispatcher, Job, job_number)
    return True


def fail_at_gate(
    session: Session,
    dispatcher: Dispatcher,
    job_number: int,
    report: StoredReport,
    problem: dict[str, Any],
) -> bool:
    """End a job whose gate is not passed, and keep its report. False: it has ended already."""
    if not fail(session, dispatcher, job_number, problem):
        return False
    add_report(session, job_number, report, now(session))
    return True


def fail(
    session: Session, dispatcher: Dispatcher, job_number: int, problem: dict[str, Any]
) -> bool:
    """End a job with its problem. False: it has ended already."""
    moment = now(session)
    if not _transition(
        session, job_number, LIVE, JobState.FAILED, finished_at=moment, problem=problem
    ):
        return False
    announce(session, dispatcher, Job, job_number)
    return True


def cancel(session: Session, dispatcher: Dispatcher, job: Job) -> None:
    """End a job at its owner's wish; once cancelled it stays so.

    Raises NotCancellableError when it has succeeded or failed.
    """
    if _transition(session, job.number, LIVE, JobState.CANCELLED, finished_at=now(session)):
        announce(session, dispatcher, Job, job.number)
    session.refresh(job)
    if job.state != JobState.CANCELLED:
        raise NotCancellableError(
            f"The job has {job.state} already; there is nothing left to cancel.", state=job.state
        )


def _transition(
    session: Session,
    job_number: int,
    expected: Sequence[JobState],
    to: JobState,
    *,
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
    problem: dict[str, Any] | None = None,
) -> bool:
    values = {"started_at": started_at, "finished_at": finished_at, "problem": problem}
    changed = session.execute(
        sa.update(Job)
        .where(Job.number == job_number, Job.state.in_([state.value for state in expected]))
        .values(state=to.value, **{name: value for name, value in values.items() if value})
    )
    return _count(changed) == 1


def _count(result: sa.Result[Any]) -> int:
    return cast("CursorResult[Any]", result).rowcount
