"""What a worker does to tell of the end of a job, a training or an evaluation: one attempt, noted,
and the next one queued.

Each attempt is a workflow of its own, queued in the transaction that notes what came of the one
before, with the time to wait as its delay. A kill between sending and noting sends once more: at
least once, always under the same `webhook-id`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db.session import now
from app.db.tables import Job, Run, RunKind
from app.errors import ConfigurationError, StorageFullError, UnavailableError
from app.jobs.work import DATABASE_PAUSE_SECONDS, WorkerContext, WorkerStoppingError
from app.webhooks.sending import Outcome, send
from app.webhooks.signing import headers_of, secrets_of

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Table = type[Job] | type[Run]

GROWTH: Final = 3.0
LONGEST_PAUSE_SECONDS: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, the same in every attempt."""

    id: str
    url: str
    body: bytes


def deliver(context: WorkerContext, table: Table, number: int, attempt: int) -> None:
    """Make one attempt to tell of the end of a job or a run. A second run of a noted attempt does
    nothing.

    Raises WorkerStoppingError when the worker stops while the database is away.
    """
    message = _patiently(context, lambda session: _message(session, table, number, attempt))
    if message is None:
        return
    outcome = _sent(context, message)
    _patiently(context, lambda session: _note(context, session, table, number, attempt, outcome))


def pause_seconds(base: float, attempt: int) -> float:
    """How long to wait after an attempt that failed; the first has number 1."""
    return float(min(base * GROWTH ** (attempt - 1), LONGEST_PAUSE_SECONDS))


def message_of(ended: Job | Run) -> Message:
    """The message of a job or a run that has ended and has a webhook."""
    assert ended.webhook is not None
    assert ended.finished_at is not None
    kind = "job" if isinstance(ended, Job) else ended.kind
    document: dict[str, Any] = {
        "type": f"{kind}.{ended.state}",
        "timestamp": _shown(ended.finished_at),
        "data": {"id": ended.id, "state": ended.state} | _said_of(ended),
    }
    if ended.problem is not None:
        document["data"]["problem"] = {
            name: ended.problem[name]
            for name in ("type", "title", "detail")
            if name in ended.problem
        }
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return Message(f"msg_{ended.id.partition('_')[2]}", ended.webhook["url"], body)


def _said_of(ended: Job | Run) -> dict[str, Any]:
    """What each kind tells beside its state: links to what there is."""
    if isinstance(ended, Job):
        url = f"/v1/jobs/{ended.id}"
        links = {"self": url, "report": f"{url}/report", "manifest": f"{url}/manifest"}
        return {"samples": ended.samples, "links": links}
    url, result = f"/v1/{ended.kind}s/{ended.id}", ended.result or {}
    if ended.kind == RunKind.TRAINING:
        ref = result.get("model")
        model = {"model": f"/v1/models/{ref}"} if ref else {}
        return {"model": ref, "links": {"self": url} | model}
    found = result.get("evaluation") or {}
    report = {"report": f"{url}/report.html"} if found else {}
    return {"verdict": found.get("verdict"), "links": {"self": url} | report}


def _message(session: Session, table: Table, number: int, attempt: int) -> Message | None:
    ended = cast("Job | Run | None", session.get(table, number))
    if ended is None or ended.finished_at is None or not _is_due(ended, attempt):
        return None
    return message_of(ended)


def _is_due(ended: Job | Run, attempt: int) -> bool:
    return ended.webhook is not None and int(ended.webhook.get("attempts", 0)) < attempt


def _sent(context: WorkerContext, message: Message) -> Outcome:
    settings = context.settings
    try:
        with context.transaction() as session:
            timestamp = int(now(session).timestamp())
        headers = headers_of(secrets_of(settings), message.id, timestamp, message.body)
        return send(message.url, headers, message.body, settings.webhook_private_addresses)
    except ConfigurationError as error:
        log.error("a webhook can't be signed: %s", error.detail)
        return Outcome(error="the service has no secret to sign it with")
    except UnavailableError:
        return Outcome(error="the service's database was away")
    except Exception:
        log.exception("a webhook failed unexpectedly")
        return Outcome(error="the service met an error that it does not know")


def _note(
    context: WorkerContext,
    session: Session,
    table: Table,
    number: int,
    attempt: int,
    outcome: Outcome,
) -> None:
    """Note an attempt, and queue the next one where there is to be one: one transaction."""
    # An update, because that locks on every database.
    session.execute(sa.update(table).where(table.number == number).values(state=table.state))
    ended = cast("Job | Run", session.get_one(table, number))
    if not _is_due(ended, attempt):
        return
    settings = context.settings
    again = not (outcome.delivered or outcome.final) and attempt < settings.webhook_attempts
    ended.webhook = {
        **(ended.webhook or {}),
        "attempts": attempt,
        "last_status": outcome.status,
        "last_error": outcome.error,
        "delivered_at": _shown(now(session)) if outcome.delivered else None,
        "given_up": not outcome.delivered and not again,
    }
    if again:
        pause = pause_seconds(settings.webhook_backoff_seconds, attempt)
        context.dispatcher.webhook(session, ended, attempt + 1, pause)


def _patiently(context: WorkerContext, step: Callable[[Session], Answer]) -> Answer:
    """The step's answer; while the database is away, or a disk is full, it is tried again."""
    while True:
        try:
            with context.transaction() as session:
                return step(session)
        except (UnavailableError, StorageFullError) as error:
            log.warning("a webhook waits: %s", error.detail, exc_info=error.__cause__)
            if context.stopping.wait(DATABASE_PAUSE_SECONDS):
                raise WorkerStoppingError from None


def _shown(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
