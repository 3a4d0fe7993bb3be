"""The only writer of a run's state. Every transition is one function and one transaction.

    queued ──> running ──> succeeded
       └──────────┴──> failed | cancelled

Each is conditional on the state expected, and, where an attempt speaks, on its token: one that was
taken over by another attempt changes nothing any more.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from app.db.session import now
from app.db.tables import LIVE_RUN, Run, RunKind, RunState
from app.db.timestamps import UtcDateTime
from app.errors import NotCancellableError, PoisonRunError
from app.jobs.dispatch import Dispatcher
from app.jobs.ending import announce

PREFIXES = {RunKind.TRAINING: "tr", RunKind.EVALUATION: "ev"}


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one attempt to speak for its run; void as soon as another one begins."""

    number: int
    run_id: str
    tenant_id: str
    kind: RunKind
    attempt: int
    token: str
    request: dict[str, Any]

    @property
    def folder(self) -> str:
        """Where this attempt, and no other, works: a prefix of keys in storage."""
        return attempt_folder(self.run_id, self.attempt, self.token)


def run_folder(run_id: str) -> str:
    """Where all files of a run are: a prefix of keys in storage."""
    return f"runs/{run_id}"


def attempt_folder(run_id: str, attempt: int, token: str) -> str:
    """Where one attempt works. The numbers grow, so the last folder is the last attempt's."""
    return f"{run_folder(run_id)}/{attempt:04d}-{token}"


def kept_folder(run_id: str) -> str:
    """Where the files are that stay when a run has ended."""
    return f"{run_folder(run_id)}/kept"


def submit(
    session: Session,
    dispatcher: Dispatcher,
    *,
    tenant_id: str,
    kind: RunKind,
    request: dict[str, Any],
    needs: list[str],
    fingerprint: str,
    idempotency_key: str | None,
    webhook: str | None = None,
) -> Run:
    """Write the run and queue it: one transaction.

    needs: ids of datasets and jobs and SHA-256 of models that must stay until it has ended.
    webhook: where its end is told of.
    """
    run = Run(
        id=f"{PREFIXES[kind]}_{secrets.token_hex(10)}",
        tenant_id=tenant_id,
        kind=kind.value,
        state=RunState.QUEUED.value,
        request=request,
        needs=needs,
        progress={},
        webhook={"url": webhook} if webhook else None,
        attempts=0,
        stops=0,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        created_at=now(session),
    )
    session.add(run)
    session.flush()
    dispatcher.run(session, tenant_id, (run.number, run.id))
    return run


def begin(
    session: Session, dispatcher: Dispatcher, number: int, worker_id: str, most_attempts: int
) -> Lease | None:
    """Begin an attempt; None when there is nothing to do any more.

    A run whose attempts ended too often without a word fails here.
    """
    counted = session.execute(
        sa.update(Run)
        .where(Run.number == number, Run.state.in_([state.value for state in LIVE_RUN]))
        .values(
            state=RunState.RUNNING.value,
            token=secrets.token_hex(8),
            worker_id=worker_id,
            attempts=Run.attempts + 1,
            started_at=sa.func.coalesce(Run.started_at, sa.literal(now(session), UtcDateTime())),
        )
    )
    if _count(counted) != 1:
        return None
    run = session.execute(sa.select(Run).where(Run.number == number)).scalar_one()
    lease = _lease_of(run)
    if run.attempts - run.stops > most_attempts:
        fail(session, dispatcher, lease, _poisoned(run, most_attempts).problem())
        return None
    return lease


def _lease_of(run: Run) -> Lease:
    assert run.token is not None, "an attempt has begun"
    return Lease(
        number=run.number,
        run_id=run.id,
        tenant_id=run.tenant_id,
        kind=RunKind(run.kind),
        attempt=run.attempts,
        token=run.token,
        request=run.request,
    )


def _poisoned(run: Run, most_attempts: int) -> PoisonRunError:
    return PoisonRunError(
        f"The {run.kind} was begun {most_attempts} times, and each time its process or its worker "
        "ended without a word: most likely the machine's memory is too small for it. Look into "
        "the worker's log, then ask for a smaller one."
    )


def stop(session: Session, lease: Lease) -> None:
    """An attempt ends because its worker was told to: it does not count against the run."""
    session.execute(sa.update(Run).where(*_holds(lease)).values(stops=Run.stops + 1))


def report(session: Session, lease: Lease, progress: dict[str, Any]) -> bool:
    """Note how far an attempt is. False: the run has ended, or another attempt has begun."""
    changed = session.execute(sa.update(Run).where(*_holds(lease)).values(progress=progress))
    return _count(changed) == 1


def is_held(session: Session, lease: Lease) -> bool:
    """Whether the run is still this attempt's. Writes nothing."""
    found = session.execute(sa.select(Run.number).where(*_holds(lease))).scalar_one_or_none()
    return found is not None


def hold(session: Session, lease: Lease) -> bool:
    """Keep a run that is still this attempt's as it is until the transaction ends.

    False: it is not. An update, because that locks on every database.
    """
    held = session.execute(sa.update(Run).where(*_holds(lease)).values(token=Run.token))
    return _count(held) == 1


def succeed(session: Session, dispatcher: Dispatcher, lease: Lease, result: dict[str, Any]) -> bool:
    """End a run with its result. False: it is no longer this attempt's."""
    return _end(session, dispatcher, lease, state=RunState.SUCCEEDED.value, result=result)


def fail(
    session: Session,
    dispatcher: Dispatcher,
    lease: Lease,
    problem: dict[str, Any],
    result: dict[str, Any] | None = None,
) -> bool:
    """End a run with its problem, and what it found out before. False: it is no longer ours."""
    known = {} if result is None else {"result": result}
    return _end(session, dispatcher, lease, state=RunState.FAILED.value, problem=problem, **known)


def _end(session: Session, dispatcher: Dispatcher, lease: Lease, **written: Any) -> bool:
    changed = session.execute(
        sa.update(Run).where(*_holds(lease)).values(finished_at=now(session), **written)
    )
    if _count(changed) != 1:
        return False
    announce(session, dispatcher, Run, lease.number)
    return True


def cancel(session: Session, dispatcher: Dispatcher, run: Run) -> None:
    """End a run at its owner's wish; once cancelled it stays so.

    Raises NotCancellableError when it has succeeded or failed.
    """
    changed = session.execute(
        sa.update(Run)
        .where(Run.number == run.number, Run.state.in_([state.value for state in LIVE_RUN]))
        .values(state=RunState.CANCELLED.value, finished_at=now(session))
    )
    if _count(changed) == 1:
        announce(session, dispatcher, Run, run.number)
    session.refresh(run)
    if run.state != RunState.CANCELLED:
        raise NotCancellableError(
            f"The {run.kind} has {run.state} already; there is nothing left to cancel.",
            state=run.state,
        )


def _holds(lease: Lease) -> Sequence[sa.ColumnElement[bool]]:
    return (
        Run.number == lease.number,
        Run.token == lease.token,
        Run.state == RunState.RUNNING.value,
    )


def _count(result: sa.Result[Any]) -> int:
    return cast("CursorResult[Any]", result).rowcount
