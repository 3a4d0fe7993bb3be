"""`/v1/jobs`: ask for samples, follow, cancel."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated

import sqlalchemy as sa
from anyio import from_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload, selectinload

from app.api.conditional import not_modified
from app.api.idempotency import IdempotencyKey, checked_key, fingerprint_of
from app.api.job_view import JobView, view_of
from app.api.planning import plan_of
from app.api.services import Provided, Services, Tenant
from app.api.strict import StrictRoute
from app.datasets import marks, real, signing
from app.datasets.rows import place_of_rows
from app.db.session import storable
from app.db.tables import TERMINAL, Job
from app.deletion import hold
from app.errors import (
    IdempotencyKeyReusedError,
    MalformedRequestError,
    NotFoundError,
    SigningNotSetUpError,
    StorageFullError,
)
from app.jobs import lifecycle
from app.jobs.asked_report import AskedReport, conditions_of
from app.jobs.estimate import Estimate, estimate
from app.jobs.formats import kept
from app.jobs.pilot import labelling
from app.jobs.plan import Plan
from app.jobs.request import JobRequest
from app.jobs.webhook import check_place
from app.runs.training import known_dataset

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictRoute)


SEEN = (selectinload(Job.archives), joinedload(Job.report))
"""What a view of a job shows of other tables."""


class JobList(BaseModel):
    """A page of jobs, the newest first; `next` is the `after` of the next page."""

    jobs: list[JobView]
    next: str | None


@router.post("", status_code=202)
def create_job(
    services: Provided,
    tenant: Tenant,
    body: JobRequest,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Queue a job. The same `Idempotency-Key` with the same body gives the same job."""
    key = checked_key(idempotency_key)
    fingerprint = fingerprint_of(body)
    view = _replay(services, tenant, key, fingerprint)
    replayed = view is not None
    if view is None:
        view, replayed = _submit(services, tenant, body, key, fingerprint)
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    response.headers["Location"] = view.links.self
    response.headers["Retry-After"] = "1"
    return view


@router.post("/estimate")
def estimate_job(services: Provided, tenant: Tenant, body: JobRequest) -> Estimate:
    """What a job would be, without running it: plan, shards, bytes, seconds.

    Where a classifier labels what is drawn, a worker draws a pilot of each model first, and
    `labelling` says how many candidates the classes take.
    """
    conditions_of(body.gate, body.report)
    with services.transaction() as session:
        plan, specs = plan_of(session, services, tenant, body)
        _report_of(session, tenant, body.report)
    latent_sizes = {spec.sha256: spec.latent_size for spec in specs}
    cost = labelling(plan, from_thread.run(services.pilots.of, plan, latent_sizes))
    with services.transaction() as session:
        return estimate(session, tenant, plan, seed=body.seed, labelling=cost)


@router.get("")
def list_jobs(
    services: Provided,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> JobList:
    """Jobs, the newest first."""
    query = sa.select(Job).where(Job.tenant_id == tenant).options(*SEEN)
    if after is not None:
        query = query.where(Job.number < read_token(after))
    with services.transaction() as session:
        rows = list(session.execute(query.order_by(Job.number.desc()).limit(limit)).scalars())
        views = [view_of(session, job) for job in rows]
    more = len(rows) == limit
    return JobList(jobs=views, next=page_token(rows[-1].number) if more else None)


@router.get("/{job_id}")
def get_job(
    services: Provided, tenant: Tenant, job_id: str, request: Request, response: Response
) -> JobView:
    """One job. `If-None-Match` with the last `ETag` answers 304 while nothing has changed."""
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
        view = view_of(session, job)
    tag = f'"{hashlib.sha256(view.model_dump_json().encode()).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    if job.state not in TERMINAL:
        response.headers["Retry-After"] = "1"
    if not_modified(request, tag):
        return Response(status_code=304, headers=dict(response.headers))  # type: ignore[return-value]
    return view


@router.post("/{job_id}/cancel")
def cancel_job(services: Provided, tenant: Tenant, job_id: str) -> JobView:
    """End a job. Cancelling again changes nothing; one that has ended otherwise answers 409."""
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
        lifecycle.cancel(session, services.dispatcher, job)
        return view_of(session, find_job(session, tenant, job_id))


def find_job(session: Session, tenant: str, job_id: str) -> Job:
    """The tenant's job, with its archives. Raises NotFoundError, also for another tenant's."""
    job = (
        storable(job_id)
        and session.execute(
            sa.select(Job).where(Job.tenant_id == tenant, Job.id == job_id).options(*SEEN)
        ).scalar_one_or_none()
    )
    if not job:
        raise NotFoundError("There is no such job; GET /v1/jobs lists those that exist.")
    return job


def page_token(position: int) -> str:
    """An opaque, URL-safe token for a keyset position. It grants nothing."""
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def read_token(token: str) -> int:
    """The position of a token. Raises MalformedRequestError."""
    try:
        position = int(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError as error:
        raise MalformedRequestError('"after" must be the `next` of an earlier page.') from error
    if not 0 <= position < 2**62:
        raise MalformedRequestError('"after" must be the `next` of an earlier page.')
    return position


def _submit(
    services: Services, tenant: str, body: JobRequest, key: str | None, fingerprint: str
) -> tuple[JobView, bool]:
    """The new job; or, and True, the one of another request that had the same key first."""
    try:
        with services.transaction() as session:
            gate = conditions_of(body.gate, body.report)
            check_place(body.webhook, services.settings.webhook_private_addresses)
            _check_signing(services, body)
            plan, _ = plan_of(session, services, tenant, body)
            report = _report_of(session, tenant, body.report)
            _check_room(services, plan)
            job = lifecycle.submit(
                session,
                services.dispatcher,
                tenant_id=tenant,
                plan=plan,
                formats=[kept(chosen) for chosen in body.formats],
                window=services.settings.shard_window,
                fingerprint=fingerprint,
                idempotency_key=key,
                rows_in=place_of_rows(plan.samples, services.settings.rows_in_database_up_to),
                report=report.model_dump() if report else None,
                gate=gate,
                webhook=body.webhook.url if body.webhook else None,
            )
            hold(session, tenant, [model.sha256 for model in plan.models])
            if report is not None:
                real.hold(session, tenant, report.against)
            if plan.merge is not None:
                real.hold_content(session, tenant, plan.merge.name, plan.merge.sha256)
            if plan.checks is not None and (copies := plan.checks.copies) is not None:
                real.hold_content(session, tenant, copies.dataset, copies.sha256)
            return view_of(session, job), False
    except IntegrityError:
        replayed = _replay(services, tenant, key, fingerprint)
        if replayed is None:
            raise
        return replayed, True


def _check_signing(services: Services, body: JobRequest) -> None:
    if body.c2pa and services.signing is None:
        raise SigningNotSetUpError(f"To have images signed, {signing.NEEDED}; or leave it out.")


def _report_of(session: Session, tenant: str, asked: AskedReport | None) -> AskedReport | None:
    """What the report shall hold, its dataset by id. Raises UnknownDatasetError."""
    if asked is None:
        return None
    return asked.model_copy(update={"against": known_dataset(session, tenant, asked.against).id})


def _replay(services: Services, tenant: str, key: str | None, fingerprint: str) -> JobView | None:
    if key is None:
        return None
    with services.transaction() as session:
        job = session.execute(
            sa.select(Job).where(Job.tenant_id == tenant, Job.idempotency_key == key).options(*SEEN)
        ).scalar_one_or_none()
        if job is None:
            return None
        if job.fingerprint != fingerprint:
            raise IdempotencyKeyReusedError(
                "This Idempotency-Key was used for a job with another request. Take a new key "
                "for a new request.",
                job_id=job.id,
            )
        return view_of(session, job)


def _check_room(services: Services, plan: Plan) -> None:
    # Shards and one archive hold every image once each; the archive holds the real ones too.
    file_bytes = plan.encoding.most_bytes(plan.image) + (marks.BYTES if plan.marks else 0)
    file_bytes += signing.BYTES if plan.c2pa else 0
    needed = 2 * plan.samples * file_bytes
    needed += plan.merge.images * plan.image.bytes if plan.merge else 0
    free = services.storage.free_bytes()
    if needed > free:
        raise StorageFullError(
            f"This job may need {needed >> 20} MiB and {free >> 20} MiB are free. Free some space "
            "or ask for fewer samples."
        )
