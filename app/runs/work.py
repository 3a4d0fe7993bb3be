"""What a worker does with a run that it takes: attempt after attempt, until it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from app.errors import JobError, JobStoppedError, StorageFullError, SynthloomError, UnavailableError
from app.imports.trying import Try
from app.jobs.work import DATABASE_PAUSE_SECONDS, WorkerContext, WorkerStoppingError
from app.runs import lifecycle, messages
from app.runs.conclude import conclude
from app.runs.folders import adopt
from app.runs.lifecycle import Lease
from app.runs.messages import LOG_FILE
from app.runs.orders import order_of
from app.runs.process import Child

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How often an attempt's process is looked at, and whether its run is still wanted."""
REPORT_SECONDS = 1.0
"""How often its progress is written down, where it has changed."""
CHECKPOINT_SECONDS = 8.5
"""What a stopping worker gives it to write a checkpoint; it has `attempt.STOP_SECONDS` itself."""
_LOG_TAIL = 2_000

Answer = TypeVar("Answer")
AWAY = (UnavailableError, StorageFullError)


class Ending(StrEnum):
    """How an attempt's process ended."""

    SPOKEN = "spoken"
    """It left a result or a problem."""
    SILENT = "silent"
    """It left neither: somebody killed it, or the machine's memory did."""


def carry_out(context: WorkerContext, try_model: Try, number: int) -> None:
    """Run a training or an evaluation to its end.

    Raises WorkerStoppingError when the worker stops: another one goes on.
    """
    while True:
        lease = _patiently(context, partial(_begin, context, number))
        if lease is None or not _attempt(context, try_model, lease):
            return


def _begin(context: WorkerContext, number: int) -> Lease | None:
    with context.transaction() as session:
        return lifecycle.begin(
            session,
            context.dispatcher,
            number,
            context.worker_id,
            context.settings.run_attempts,
        )


def _attempt(context: WorkerContext, try_model: Try, lease: Lease) -> bool:
    """One attempt; whether another one is needed. What goes wrong becomes the run's problem."""
    try:
        folder = adopt(context.storage, lease)
        if _ended(context, lease, folder) is Ending.SILENT:
            return True
        _patiently(context, partial(conclude, context, try_model, lease, folder))
    except JobStoppedError:
        log.info("%s is no longer running here; its process was ended", lease.run_id)
    except WorkerStoppingError:
        _note_stop(context, lease)
        raise
    except Exception as error:
        if not isinstance(error, SynthloomError):
            log.exception("%s failed unexpectedly", lease.run_id)
        problem = _problem(error)
        _patiently(context, partial(_fail, context, lease, problem), (SynthloomError,))
    return False


def _ended(context: WorkerContext, lease: Lease, folder: Path) -> Ending:
    """Have the work done, unless an earlier attempt had and did not live to see it noted."""
    if not _spoken(folder):
        order = _patiently(context, partial(order_of, context, lease))
        messages.write(folder, messages.WORK_FILE, order)
        threads = context.settings.training_threads
        with Child(folder, threads, context.settings.hang_seconds) as child:
            _watch(context, lease, folder, child)
        if not _spoken(folder):
            _explain(lease, folder, child)
            return Ending.SILENT
    return Ending.SPOKEN


def _watch(context: WorkerContext, lease: Lease, folder: Path, child: Child) -> None:
    """Until the process ends. Raises JobStoppedError when it is no longer wanted."""
    reporter = _Reporter(context, lease, folder)
    silent = 0.0
    while not child.wait(LOOK_SECONDS):
        if context.stopping.is_set():
            child.stop(CHECKPOINT_SECONDS)
            raise WorkerStoppingError
        reporter()
        silent = 0.0 if child.gave_sign() else silent + LOOK_SECONDS
        if silent > child.patience(context.settings.hang_seconds):
            log.error("%s has given no sign of life for %g s and is killed", lease.run_id, silent)
            child.kill()
    reporter.last()


class _Reporter:
    """Writes progress down now and then, and stops a run that is no longer wanted.

    A database that is away is no reason to stop: the process works on meanwhile.
    """

    def __init__(self, context: WorkerContext, lease: Lease, folder: Path) -> None:
        self._context = context
        self._lease = lease
        self._folder = folder
        self._told: dict[str, Any] | None = None
        self._next = 0.0

    def __call__(self) -> None:
        due = time.monotonic() >= self._next
        found = messages.progress_in(self._folder) if due else None
        if found is not None and found != self._told:
            self._ask(partial(lifecycle.report, lease=self._lease, progress=found))
            self._told = found
            self._next = time.monotonic() + REPORT_SECONDS
        else:
            self._ask(partial(lifecycle.is_held, lease=self._lease))

    def last(self) -> None:
        """What the process said before it ended."""
        self._next = 0.0
        self()

    def _ask(self, question: Callable[[Session], bool]) -> None:
        try:
            with self._context.transaction() as session:
                wanted = question(session)
        except AWAY as error:
            log.warning("%s goes on, unnoted: %s", self._lease.run_id, error.detail)
            return
        if not wanted:
            raise JobStoppedError("The run has ended, or another attempt has begun.")


def _spoken(folder: Path) -> bool:
    return any((folder / name).exists() for name in (messages.RESULT_FILE, messages.PROBLEM_FILE))


def _explain(lease: Lease, folder: Path, child: Child) -> None:
    said = (folder / LOG_FILE).read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
    log.warning(
        "attempt %d of %s ended with code %s and no word. Its last lines:\n%s",
        lease.attempt,
        lease.run_id,
        child.code,
        said,
    )


def _note_stop(context: WorkerContext, lease: Lease) -> None:
    try:
        with context.transaction() as session:
            lifecycle.stop(session, lease)
    except SynthloomError as error:
        log.warning("the stop of %s counts as an attempt: %s", lease.run_id, error.detail)


def _fail(context: WorkerContext, lease: Lease, problem: dict[str, Any]) -> None:
    with context.transaction() as session:
        lifecycle.fail(session, context.dispatcher, lease, problem)


def _problem(error: Exception) -> dict[str, Any]:
    if isinstance(error, SynthloomError):
        return error.problem()
    return JobError(
        "The worker met an error that it does not know; its log has the details. Ask for it again, "
        "and report it if it comes back."
    ).problem()


def _patiently(
    context: WorkerContext,
    step: Callable[[], Answer],
    against: tuple[type[SynthloomError], ...] = AWAY,
) -> Answer:
    """The step's answer; while the database is away, or a disk is full, it is tried again.

    Raises WorkerStoppingError when the worker stops meanwhile.
    """
    while True:
        try:
            return step()
        except against as error:
            log.warning("a run waits: %s", error.detail, exc_info=error.__cause__)
            if context.stopping.wait(DATABASE_PAUSE_SECONDS):
                raise WorkerStoppingError from None
