"""`/v1/trainings`: a new model from a dataset."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.api.idempotency import IdempotencyKey
from app.api.run_view import TrainingView, training_view
from app.api.runs import Order, accepted, answered, find_run, page_of, submitted
from app.api.services import Provided, Services, Tenant
from app.api.strict import StrictRoute
from app.db.tables import RunKind
from app.errors import NotFoundError
from app.runs import lifecycle
from app.runs.folders import file_of
from app.runs.messages import CURVES_FILE, GRID_FILE
from app.runs.request import TrainingRequest
from app.runs.training import training_order

router = APIRouter(prefix="/v1/trainings", tags=["trainings"], route_class=StrictRoute)

PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}


class TrainingList(BaseModel):
    """A page of trainings, the newest first; `next` is the `after` of the next page."""

    trainings: list[TrainingView]
    next: str | None


class Curve(BaseModel):
    """One loss or figure: values over steps, at most a few hundred; of longer ones, neighbouring
    points are averaged."""

    step: list[int]
    value: list[float | None]


class Curves(BaseModel):
    """Losses of all steps, and figures of the snapshots."""

    curves: dict[str, Curve] = {}


@router.post("", status_code=202)
def create_training(
    services: Provided,
    tenant: Tenant,
    body: TrainingRequest,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> TrainingView:
    """Queue a training. Its result becomes version 1.0.0, 1.1.0 … of the model `name`.

    It is tried like an imported model before; what is not worth serving fails the training unless
    `accept_degenerate` says otherwise.
    """
    make = partial(_order, services, tenant, body)
    run, replayed = submitted(services, tenant, RunKind.TRAINING, body, idempotency_key, make)
    view = training_view(run)
    accepted(response, run, replayed, view.links.self)
    return view


@router.get("")
def list_trainings(
    services: Provided,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> TrainingList:
    """Trainings, the newest first."""
    with services.transaction() as session:
        runs, token = page_of(session, tenant, RunKind.TRAINING, limit, after)
    return TrainingList(trainings=[training_view(run) for run in runs], next=token)


@router.get("/{training_id}")
def get_training(
    services: Provided, tenant: Tenant, training_id: str, request: Request, response: Response
) -> TrainingView:
    """One training. `If-None-Match` with the last `ETag` answers 304 while nothing has changed."""
    with services.transaction() as session:
        run = find_run(session, tenant, RunKind.TRAINING, training_id)
    view: TrainingView = answered(request, response, run, training_view(run))
    return view


@router.post("/{training_id}/cancel")
def cancel_training(services: Provided, tenant: Tenant, training_id: str) -> TrainingView:
    """End a training; what it has learnt is discarded. Again changes nothing."""
    with services.transaction() as session:
        run = find_run(session, tenant, RunKind.TRAINING, training_id)
        lifecycle.cancel(session, services.dispatcher, run)
        return training_view(run)


@router.get("/{training_id}/grid.png", response_class=Response, responses=PNG)
def get_grid(services: Provided, tenant: Tenant, training_id: str) -> Response:
    """What the model draws now, one class a row, always from the same latents."""
    content = _content(services, tenant, training_id, GRID_FILE)
    if content is None:
        raise NotFoundError("The training has drawn nothing yet. Ask again in a while.")
    tag = hashlib.sha256(content).hexdigest()[:32]
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}
    return Response(content, media_type="image/png", headers=headers)


@router.get("/{training_id}/curves")
def get_curves(services: Provided, tenant: Tenant, training_id: str) -> Curves:
    """Losses and figures so far."""
    content = _content(services, tenant, training_id, CURVES_FILE)
    return Curves(curves=json.loads(content) if content else {})


def _order(services: Services, tenant: str, body: TrainingRequest, session: Session) -> Order:
    settings = services.settings
    dataset, request = training_order(
        session, tenant, body, threads=settings.training_threads, device=settings.device
    )
    return Order(request, datasets=[dataset.id])


def _content(services: Services, tenant: str, training_id: str, name: str) -> bytes | None:
    """A file of the training as it is now."""
    with services.transaction() as session:
        run = find_run(session, tenant, RunKind.TRAINING, training_id)
    path = file_of(services.storage, run, name)
    try:
        return None if path is None else path.read_bytes()
    except FileNotFoundError:  # another attempt has just begun, in a folder of its own
        return None
