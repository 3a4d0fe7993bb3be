"""`/v1/evaluations`: samples held against real images."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.api.idempotency import IdempotencyKey
from app.api.run_view import EvaluationDetail, EvaluationView, evaluation_detail, evaluation_view
from app.api.runs import Order, accepted, answered, find_run, page_of, submitted
from app.api.services import Provided, Services, Tenant
from app.api.strict import StrictRoute
from app.db.tables import RunKind
from app.errors import ReportNotReadyError
from app.runs import lifecycle
from app.runs.evaluation import evaluation_order
from app.runs.folders import file_of
from app.runs.messages import EVALUATION_FOLDER, REPORT_HTML, REPORT_JSON
from app.runs.request import EvaluationRequest

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"], route_class=StrictRoute)

HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}}}
JSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}}}}


class EvaluationList(BaseModel):
    """A page of evaluations, the newest first; `next` is the `after` of the next page."""

    evaluations: list[EvaluationView]
    next: str | None


@router.post("", status_code=202)
def create_evaluation(
    services: Provided,
    tenant: Tenant,
    body: EvaluationRequest,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> EvaluationView:
    """Queue an evaluation of a model, of a job that has succeeded, or of a dataset.

    A gate that is not passed fails it; the report is there all the same.
    """
    make = partial(_order, services, tenant, body)
    run, replayed = submitted(services, tenant, RunKind.EVALUATION, body, idempotency_key, make)
    view = evaluation_view(run)
    accepted(response, run, replayed, view.links.self)
    return view


@router.get("")
def list_evaluations(
    services: Provided,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> EvaluationList:
    """Evaluations, the newest first."""
    with services.transaction() as session:
        runs, token = page_of(session, tenant, RunKind.EVALUATION, limit, after)
    return EvaluationList(evaluations=[evaluation_view(run) for run in runs], next=token)


@router.get("/{evaluation_id}")
def get_evaluation(
    services: Provided, tenant: Tenant, evaluation_id: str, request: Request, response: Response
) -> EvaluationDetail:
    """One evaluation, with all that was found. `If-None-Match` with the last `ETag` answers 304
    while nothing has changed."""
    with services.transaction() as session:
        run = find_run(session, tenant, RunKind.EVALUATION, evaluation_id)
    view: EvaluationDetail = answered(request, response, run, evaluation_detail(run))
    return view


@router.post("/{evaluation_id}/cancel")
def cancel_evaluation(services: Provided, tenant: Tenant, evaluation_id: str) -> EvaluationView:
    """End an evaluation; what it has measured is discarded. Again changes nothing."""
    with services.transaction() as session:
        run = find_run(session, tenant, RunKind.EVALUATION, evaluation_id)
        lifecycle.cancel(session, services.dispatcher, run)
        return evaluation_view(run)


@router.get("/{evaluation_id}/report.html", response_class=Response, responses=HTML)
def get_report_html(services: Provided, tenant: Tenant, evaluation_id: str) -> Response:
    """The report for people: one page that needs nothing else."""
    content = _content(services, tenant, evaluation_id, REPORT_HTML)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
    headers = {"Content-Security-Policy": policy}
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


@router.get("/{evaluation_id}/report.json", response_class=Response, responses=JSON)
def get_report_json(services: Provided, tenant: Tenant, evaluation_id: str) -> Response:
    """The same for programs."""
    content = _content(services, tenant, evaluation_id, REPORT_JSON)
    return Response(content, media_type="application/json")


def _order(services: Services, tenant: str, body: EvaluationRequest, session: Session) -> Order:
    ordered = evaluation_order(session, tenant, body, services.limits)
    return Order(ordered.request, ordered.datasets, ordered.models)


def _content(services: Services, tenant: str, evaluation_id: str, name: str) -> bytes:
    with services.transaction() as session:
        run = find_run(session, tenant, RunKind.EVALUATION, evaluation_id)
    path = file_of(services.storage, run, f"{EVALUATION_FOLDER}/{name}")
    try:
        if path is not None and run.finished_at is not None:
            return path.read_bytes()
    except FileNotFoundError:
        pass
    raise ReportNotReadyError(
        f"The evaluation is {run.state} and has no report"
        + (" yet; wait until it has ended." if run.finished_at is None else "."),
        state=run.state,
    )
