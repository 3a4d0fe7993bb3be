"""What a worker does to tell of the end of a job: one attempt, noted, and the next one queued.

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
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db.session import now
from app.db.tables import TERMINAL, Job
from app.errors import ConfigurationError, StorageFullError, UnavailableError
from app.jobs.work import DATABASE_PAUSE_SECONDS, WorkerContext, WorkerStoppingError
from app.webhooks.sending import Outcome, send
from app.webhooks.signing import headers_of, secrets_of

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

GROWTH: Final = 3.0
LONGEST_PAUSE_SECONDS: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, the same in every attempt."""

    id: str
    url: str
    body: bytes


def deliver(context: WorkerContext, job_number: int, attempt: int) -> None:
    """Make one attempt to tell of the end of a job. A second run of a noted attempt does nothing.

    Raises WorkerStoppingError when the worker stops while the database is away.
    """
    message = _patiently(context, lambda session: _message(session, job_number, attempt))
    if message is None:
        return
    outcome = _sent(context, message)
    _patiently(context, lambda session: _note(context, session, job_number, attempt, outcome))


def pause_seconds(base: float, attempt: int) -> float:
    """How long to wait after an attempt that failed; the first has number 1."""
    return float(min(base * GROWTH ** (attempt - 1), LONGEST_PAUSE_SECONDS))


def message_of(job: Job) -> Message:
    """The message of a job that has ended and has a webhook."""
    assert job.webhook is not None
    assert job.finished_at is not None
    links = {name: f"/v1/jobs/{job.id}{end}" for name, end in _LINKS.items()}
    document: dict[str, Any] = {
        "type": f"job.{job.state}",
        "timestamp": _shown(job.finished_at),
        "data": {"id": job.id, "state": job.state, "samples": job.samples, "links": links},
    }
    if job.problem is not None:
        document["data"]["problem"] = {
            name: job.problem[name] for name in ("type", "title", "detail") if name in job.problem
        }
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return Message(f"msg_{job.id.removeprefix('job_')}", job.webhook["url"], body)


_LINKS: Final = {"self": "", "report": "/report", "manifest": "/manifest"}


def _message(session: Session, job_number: int, attempt: int) -> Message | None:
    job = session.get(Job, job_number)
    if job is None or job.state not in TERMINAL or not _is_due(job, attempt):
        return None
    return message_of(job)


def _is_due(job: Job, attempt: int) -> bool:
    return job.webhook is not None and int(job.webhook.get("attempts", 0)) < attempt


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
    context: WorkerContext, session: Session, job_number: int, attempt: int, outcome: Outcome
) -> None:
    """Note an attempt, and queue the next one where there is to be one: one transaction."""
    # An update, because that locks on every database.
    session.execute(sa.update(Job).where(Job.number == job_number).values(state=Job.state))
    job = session.execute(sa.select(Job).where(Job.number == job_number)).scalar_one()
    if not _is_due(job, attempt):
        return
    settings = context.settings
    again = not (outcome.delivered or outcome.final) and attempt < settings.webhook_attempts
    job.webhook = {
        **(job.webhook or {}),
        "attempts": attempt,
        "last_status": outcome.status,
        "last_error": outcome.error,
        "delivered_at": _shown(now(session)) if outcome.delivered else None,
        "given_up": not outcome.delivered and not again,
    }
    if again:
        pause = pause_seconds(settings.webhook_backoff_seconds, attempt)
        context.dispatcher.webhook(session, job.tenant_id, (job.number, job.id), attempt + 1, pause)


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
