"""From a request and the catalogue to a plan."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.api.known_models import resolved
from app.api.services import Services
from app.jobs.plan import Plan
from app.jobs.request import MAX_SEED, JobRequest, Limits, make_plan
from models.spec import ModelSpec


def plan_of(
    session: Session, services: Services, tenant: str, body: JobRequest
) -> tuple[Plan, list[ModelSpec]]:
    """The plan of a request, and the specs of its models. Raises a ValidationError of the tree."""
    specs = resolved(session, tenant, [source.model for source in body.sources()])
    return planned(body, specs, services.limits), specs


def planned(body: JobRequest, specs: Sequence[ModelSpec], limits: Limits) -> Plan:
    """The plan of a request over the specs of its models; a seed is drawn where none was given.

    Raises a ValidationError of the tree.
    """
    weights = [source.weight for source in body.sources()]
    seed = secrets.randbelow(MAX_SEED) if body.seed is None else body.seed
    return make_plan(body, specs, weights, seed, limits)
