"""From a request and the catalogue to a plan."""

from __future__ import annotations

import secrets

from sqlalchemy.orm import Session

from app import catalogue
from app.api.services import Services
from app.errors import NotFoundError, UnknownModelError
from app.jobs.plan import Plan
from app.jobs.request import MAX_SEED, JobRequest, make_plan
from models.spec import ModelSpec


def plan_of(
    session: Session, services: Services, tenant: str, body: JobRequest
) -> tuple[Plan, list[ModelSpec]]:
    """The plan of a request, and the specs of its models; a seed is drawn where none was given.

    Raises a ValidationError of the tree.
    """
    sources = body.sources()
    try:
        rows = [catalogue.find(session, tenant, source.model) for source in sources]
    except NotFoundError as error:
        raise UnknownModelError(error.detail) from error
    specs = [catalogue.spec_of(row) for row in rows]
    weights = [source.weight for source in sources]
    seed = secrets.randbelow(MAX_SEED) if body.seed is None else body.seed
    return make_plan(body, specs, weights, seed, services.limits), specs
