"""What a worker does with the work it takes: run a shard, finalize a job, say what went wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.datasets.parquet_rows import store_rows
from app.datasets.signing import Signing
from app.datasets.zip_writer import ZipWriter
from app.db.session import transaction
from app.db.tables import Job, RowsIn
from app.errors import JobError, JobStoppedError, SynthloomError, UnavailableError
from app.jobs import finalize, lifecycle
from app.jobs.asked_report import AskedReport
from app.jobs.comparing import compare_shards, hashes_key, store_hashes
from app.jobs.copies import LoadOriginals, held_against, no_originals
from app.jobs.dispatch import Dispatcher
from app.jobs.drawing import Submits
from app.jobs.dry import by_class_of
from app.jobs.encoded import Change
from app.jobs.lease import Lease
from app.jobs.plan import Plan
from app.jobs.report import Evaluated, Finished, Judges, KeepGoing, no_evaluation
from app.jobs.shard import ShardRun
from app.settings import Settings
from app.storage import LocalStorage
from models.verdicts import Verdicts

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.25
"""How often a run writes its progress, and learns that its job was cancelled."""
DATABASE_PAUSE_SECONDS = 1.0


class JobSeat(Submits, Protocol):
    """The engine as one run of a shard sees it."""

    @property
    def environment(self) -> dict[str, str]:
        """Device and versions that made the images so far, for the manifest."""

    @property
    def device_seconds(self) -> float:
        """That devices took for these images so far."""

    def label(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        """The verdict of a classifier, by its SHA-256, on each image."""


class JobEngine(Protocol):
    """The engine, as far as a worker's jobs need it."""

    @property
    def environment(self) -> dict[str, str]:
        """The worker's own device, and versions."""

    def for_job(self, job_id: str, precision: str, psi: float | None = None) -> JobSeat:
        """The engine as one run of a shard of that job sees it."""


EvaluateHere = Callable[["WorkerContext", Finished, AskedReport, KeepGoing], Evaluated]
"""Holds the samples of a job against real images, in a process beside the worker's."""
Changes = Callable[[Plan, int], Change]
"""What the transforms of a plan do to the images of one of its shards."""
CommitStep = Callable[[Callable[[Session], bool]], bool]
"""Runs a function in one transaction together with the durable engine's own record of it."""


@dataclass
class WorkerContext:
    """What one worker process holds."""

    settings: Settings
    worker_id: str
    database: sa.Engine
    storage: LocalStorage
    dispatcher: Dispatcher
    engine: JobEngine
    commit_step: CommitStep
    encoders: Executor
    changes: Changes
    evaluate: EvaluateHere = no_evaluation
    signing: Signing | None = None
    originals: LoadOriginals = no_originals
    stopping: threading.Event = field(default_factory=threading.Event)
    _idle: threading.Condition = field(default_factory=threading.Condition)
    _in_hand: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def busy(self, workflow_id: str) -> Iterator[None]:
        """Keeps note of a piece of work, which a stopping process should let end."""
        with self._idle:
            self._in_hand[workflow_id] += 1
        try:
            yield
        finally:
            with self._idle:
                self._in_hand[workflow_id] -= 1
                self._in_hand += Counter()  # forgets what is at zero
                self._idle.notify_all()

    def in_hand(self) -> frozenset[str]:
        """The workflows that are being run."""
        with self._idle:
            return frozenset(self._in_hand)

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait for running work to notice that the process stops. False: it did not in time."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._in_hand, seconds)

    def transaction(self) -> AbstractContextManager[Session]:
        """A session on the worker's database."""
        return transaction(self.database)


def run_shard(context: WorkerContext, job_number: int, index: int) -> None:
    """Run one shard and commit it."""
    with context.transaction() as session:
        lease = lifecycle.begin_shard(
            session, job_number, index, context.worker_id, context.settings.shard_attempts
        )
    if lease is None:
        return
    try:
        stored = _store_shard(context, lease)
    except WorkerStoppingError:
        # A restart is no fault of the shard, and must not count towards giving it up.
        with context.transaction() as session:
            lifecycle.give_back_attempt(session, lease)
        raise
    committed = context.commit_step(
        lambda session: lifecycle.commit_shard(session, context.dispatcher, lease, stored)
    )
    # After a failure of the step the commit may have happened all the same: the file stays, and
    # if no row names it, the sweep at the end of the job takes it.
    if not committed:
        for key in (lease.object_key, lease.rows_key, hashes_key(lease.object_key)):
            context.storage.delete(key)
        raise JobStoppedError("The job has ended, or another run took the shard.")


def compare_job(context: WorkerContext, job_number: int, earlier: int) -> None:
    """Look for near duplicates across the shards of a job; see `compare_shards`."""
    compare_shards(
        context.transaction,
        context.storage,
        context.dispatcher,
        job_number,
        earlier,
        context.settings.shard_attempts,
    )


def finalize_job(context: WorkerContext, job_number: int) -> None:
    """Build a job's archives and its report, and end it."""

    def judges_of(job: Job) -> Judges:
        seat = context.engine.for_job(job.id, "float32")
        return Judges(seat.label, partial(context.evaluate, context))

    finalize.finalize_job(
        context.transaction,
        context.storage,
        context.dispatcher,
        job_number,
        context.settings.shard_attempts,
        judges_of,
    )


def _store_shard(context: WorkerContext, lease: Lease) -> lifecycle.StoredShard:
    report = _Reporter(context, lease)
    plan, distances = held_against(
        context.transaction, context.storage, lease, context.originals, partial(report, 0)
    )
    psi = plan.sampling.psi if plan.sampling else None
    seat = context.engine.for_job(lease.job_id, plan.precision, psi)
    run = ShardRun(
        plan=plan,
        shard=plan.shard(lease.shard),
        engine=seat,
        encoders=context.encoders,
        report=report,
        refusal_factor=context.settings.refusal_factor,
        label=seat.label,
        distances=distances,
        barred=lease.barred,
        change=context.changes(plan, lease.shard) if plan.transforms else None,
        signing=context.signing,
    )
    with context.storage.create(lease.object_key) as writer:
        members = ZipWriter(writer)
        try:
            run.write(members)
            members.close()
        finally:
            members.discard()
    if run.hashes is not None:
        store_hashes(context.storage, lease.object_key, run.hashes)
    in_file = lease.rows_in == RowsIn.PARQUET
    return lifecycle.StoredShard(
        rows=run.records,
        bytes=writer.bytes,
        sha256=writer.sha256,
        refused=run.refused,
        seconds=run.seconds,
        environment=seat.environment,
        work=_work_of(run, seat),
        rows_file=store_rows(context.storage, lease.rows_key, run.records) if in_file else None,
    )


def _work_of(run: ShardRun, seat: JobSeat) -> dict[str, Any]:
    """What a shard keeps of its run, beside its samples."""
    work: dict[str, Any] = {
        "seconds": {"device": seat.device_seconds, "encoding": run.encoding_seconds},
        "refused": dict(run.reasons),
    }
    if run.reasons_by_class:
        work["refused_by_class"] = by_class_of(run.reasons_by_class)
    if run.barred:
        work["barred"] = [positions.tolist() for positions in run.barred]
    return work


class _Reporter:
    """Writes a run's progress now and then; stops a run that is no longer wanted."""

    def __init__(self, context: WorkerContext, lease: Lease) -> None:
        self._context = context
        self._lease = lease
        self._next = time.monotonic() + REPORT_SECONDS

    def __call__(self, drawn: int) -> None:
        if self._context.stopping.is_set():
            raise WorkerStoppingError
        if time.monotonic() < self._next:
            return
        with self._context.transaction() as session:
            wanted = lifecycle.report_progress(session, self._lease, drawn)
        if not wanted:
            raise JobStoppedError("The job has ended, or another run took the shard.")
        self._next = time.monotonic() + REPORT_SECONDS


class WorkerStoppingError(BaseException):
    """The process ends: leave the workflow pending, so that the next worker runs it again.

    Not an Exception, because the engine records those as the workflow's result.
    """


def guarded(context: WorkerContext, job_number: int, work: Callable[[], None]) -> None:
    """Run work of a job; what goes wrong becomes the job's problem, once.

    A database that is away, or too full to note the problem, is no fault of the job: the work
    is tried again until it is back.
    """
    while True:
        try:
            _attempt(context, job_number, work)
            return
        except SynthloomError as error:
            log.warning("job %d waits: %s", job_number, error.detail, exc_info=error.__cause__)
            if context.stopping.wait(DATABASE_PAUSE_SECONDS):
                raise WorkerStoppingError from None


def _attempt(context: WorkerContext, job_number: int, work: Callable[[], None]) -> None:
    try:
        work()
    except JobStoppedError:
        log.info("job %d is no longer running; its work was thrown away", job_number)
    except UnavailableError:
        raise
    except Exception as error:
        problem = _problem(error)
        if not isinstance(error, SynthloomError):
            log.exception("job %d failed unexpectedly", job_number)
        with context.transaction() as session:
            lifecycle.fail(session, context.dispatcher, job_number, problem)


def _problem(error: Exception) -> dict[str, Any]:
    if isinstance(error, SynthloomError):
        return error.problem()
    return JobError(
        "The worker met an error that it does not know; its log has the details. Submit the job "
        "again, and report it if it comes back."
    ).problem()
