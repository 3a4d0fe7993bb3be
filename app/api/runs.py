"""What `/v1/trainings` and `/v1/evaluations` have in common: submitting, finding, listing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from fastapi import Request, Response
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.api.conditional import not_modified
from app.api.idempotency import checked_key, fingerprint_of
from app.api.jobs import page_token, read_token
from app.api.services import Services
from app.datasets import real
from app.db.session import storable
from app.db.tables import TERMINAL_RUN, Run, RunKind
from app.deletion import hold
from app.errors import IdempotencyKeyReusedError, NotFoundError
from app.jobs.webhook import check_place
from app.runs import lifecycle
from app.runs.request import EvaluationRequest, TrainingRequest

PLURAL = {RunKind.TRAINING: "trainings", RunKind.EVALUATION: "evaluations"}


class Order(NamedTuple):
    """A run to be: what is kept of the request, and what it needs until it has ended."""

    request: dict[str, Any]
    datasets: Sequence[str] = ()
    models: Sequence[str] = ()
    """SHA-256."""


Make = Callable[[Session], Order]
"""Checks a request against what is there; called in the transaction that writes the run."""


def submitted(
    services: Services,
    tenant: str,
    kind: RunKind,
    body: TrainingRequest | EvaluationRequest,
    key: str | None,
    make: Make,
) -> tuple[Run, bool]:
    """The new run; or, and True, the one of another request that had the same key first."""
    key = checked_key(key)
    fingerprint = hashlib.sha256(f"{kind}:{fingerprint_of(body)}".encode()).hexdigest()
    known = _replay(services, tenant, key, fingerprint)
    if known is not None:
        return known, True
    check_place(body.webhook, services.settings.webhook_private_addresses)
    told = body.webhook.url if body.webhook else None
    try:
        return _submit(services, tenant, kind, make, key, fingerprint, told), False
    except IntegrityError:
        known = _replay(services, tenant, key, fingerprint)
        if known is None:
            raise
        return known, True


def find_run(session: Session, tenant: str, kind: RunKind, run_id: str) -> Run:
    """The tenant's run. Raises NotFoundError, also for another tenant's."""
    run = (
        storable(run_id)
        and session.execute(
            sa.select(Run).where(Run.tenant_id == tenant, Run.kind == kind.value, Run.id == run_id)
        ).scalar_one_or_none()
    )
    if not run:
        raise NotFoundError(
            f"There is no such {kind}; GET /v1/{PLURAL[kind]} lists those that exist."
        )
    return run


def page_of(
    session: Session, tenant: str, kind: RunKind, limit: int, after: str | None
) -> tuple[list[Run], str | None]:
    """Runs, the newest first, and the token of the next page."""
    query = sa.select(Run).where(Run.tenant_id == tenant, Run.kind == kind.value)
    if after is not None:
        query = query.where(Run.number < read_token(after))
    rows = list(session.execute(query.order_by(Run.number.desc()).limit(limit)).scalars())
    return rows, page_token(rows[-1].number) if len(rows) == limit else None


def answered(request: Request, response: Response, run: Run, view: BaseModel) -> Any:
    """The view with an `ETag`; 304 while nothing has changed since the one that was sent."""
    tag = f'"{hashlib.sha256(view.model_dump_json().encode()).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    if run.state not in TERMINAL_RUN:
        response.headers["Retry-After"] = "1"
    if not_modified(request, tag):
        return Response(status_code=304, headers=dict(response.headers))
    return view


def accepted(response: Response, run: Run, replayed: bool, url: str) -> None:
    """The headers of the answer to a submission."""
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = url
    response.headers["Retry-After"] = "1"


def _submit(
    services: Services,
    tenant: str,
    kind: RunKind,
    make: Make,
    key: str | None,
    fingerprint: str,
    webhook: str | None,
) -> Run:
    with services.transaction() as session:
        order = make(session)
        run = lifecycle.submit(
            session,
            services.dispatcher,
            tenant_id=tenant,
            kind=kind,
            request=order.request,
            needs=[*order.datasets, *order.models],
            fingerprint=fingerprint,
            idempotency_key=key,
            webhook=webhook,
        )
        # The run first, then what it needs: whichever of a submission and a deletion comes first,
        # no run lacks its data. See `app/deletion.py`.
        for dataset_id in order.datasets:
            real.hold(session, tenant, dataset_id)
        if order.models:
            hold(session, tenant, order.models)
        return run


def _replay(services: Services, tenant: str, key: str | None, fingerprint: str) -> Run | None:
    if key is None:
        return None
    with services.transaction() as session:
        run = session.execute(
            sa.select(Run).where(Run.tenant_id == tenant, Run.idempotency_key == key)
        ).scalar_one_or_none()
        if run is not None and run.fingerprint != fingerprint:
            raise IdempotencyKeyReusedError(
                "This Idempotency-Key was used for another request. Take a new key for a new "
                "request.",
                run_id=run.id,
            )
        return run
