"""Liveness and readiness."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from fastapi import APIRouter
from pydantic import BaseModel

from app.api.services import Provided
from app.db.migrate import check
from app.db.session import now
from app.db.tables import Worker
from app.errors import ConfigurationError, UnavailableError

router = APIRouter(tags=["service"])


class Alive(BaseModel):
    """The event loop answers."""

    status: str = "alive"


class Ready(BaseModel):
    """Requests can be served; `workers` is how many have said lately that they live."""

    status: str = "ready"
    workers: int


@router.get("/livez")
async def livez() -> Alive:
    """Would a restart help? Depends on nothing but this process."""
    return Alive()


@router.get("/readyz")
def readyz(services: Provided) -> Ready:
    """Send traffic here? The schema is right and the process is not stopping."""
    if services.draining:
        raise UnavailableError("The server is stopping.", retry_after_seconds=5)
    try:
        check(services.database)
    except ConfigurationError as error:
        raise UnavailableError(error.detail, retry_after_seconds=30) from error
    except UnavailableError as error:
        # Whoever asks needs no key, so the address of the database is not for them.
        raise UnavailableError("The database does not answer.", retry_after_seconds=5) from error
    with services.transaction() as session:
        since = now(session) - timedelta(seconds=services.settings.lease_seconds)
        workers = session.execute(
            sa.select(sa.func.count()).select_from(Worker).where(Worker.seen_at >= since)
        ).scalar_one()
    return Ready(workers=workers)
