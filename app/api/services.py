"""What the API process holds, and who is asking."""

from __future__ import annotations

import hashlib
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Annotated

import sqlalchemy as sa
from anyio import CapacityLimiter
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session

from app.api.fresh import Fresh
from app.api.known_models import KnownModels
from app.api.pilots import Pilots
from app.api.remote_engine import RemoteWorkers
from app.datasets.encoders import encoder_names
from app.datasets.signing import Signing, signing_of
from app.db.session import transaction
from app.db.tables import ApiKey
from app.errors import UnauthorizedError
from app.jobs.dispatch import Dispatcher
from app.jobs.request import Limits
from app.settings import Settings
from app.storage import LocalStorage
from models.zoo.catalogue import shipped_classifiers

ACCESS_SECONDS = 2.0
"""How long a revoked key may still draw samples; everything else it loses at once."""
SAMPLING_THREADS = 128
"""Requests of `POST /v1/samples` that are worked on at a time; the others wait their turn."""


@dataclass
class Services:
    """Built once by the lifespan, read by every request."""

    settings: Settings
    database: sa.Engine
    storage: LocalStorage
    dispatcher: Dispatcher
    limits: Limits = field(init=False)
    workers: RemoteWorkers = field(init=False)
    encoders: Executor = field(init=False)
    tenants: Fresh[bytes, str] = field(init=False)
    """By the digest of their key."""
    models: KnownModels = field(init=False)
    pilots: Pilots = field(init=False)
    sampling: CapacityLimiter = field(init=False)
    signing: Signing | None = None
    """Only tried: workers sign."""
    draining: bool = False

    def __post_init__(self) -> None:
        self.limits = Limits(
            max_job_samples=self.settings.max_job_samples,
            shard_samples=self.settings.shard_samples,
            engine_batch=self.settings.engine_batch,
            encoders=encoder_names(),
            precision=self.settings.precision,
            classifiers=tuple(shipped.spec for shipped in shipped_classifiers()),
        )
        self.workers = RemoteWorkers(
            self.transaction, self.settings.lease_seconds, self.settings.sync_waiting_samples
        )
        self.tenants = Fresh(self.tenant_of, ACCESS_SECONDS)
        self.models = KnownModels(self.transaction)
        self.pilots = Pilots(self.workers)
        self.sampling = CapacityLimiter(SAMPLING_THREADS)
        self.encoders = ThreadPoolExecutor(
            self.settings.encode_threads, thread_name_prefix="encode"
        )

    def transaction(self) -> AbstractContextManager[Session]:
        """A session whose work is committed when the block ends well."""
        return transaction(self.database)

    def tenant_of(self, digest: bytes) -> str:
        """The tenant whose key has this SHA-256. Raises UnauthorizedError."""
        with self.transaction() as session:
            tenant = session.execute(
                sa.select(ApiKey.tenant_id).where(
                    ApiKey.digest == digest, ApiKey.revoked_at.is_(None)
                )
            ).scalar_one_or_none()
        if tenant is None:
            raise UnauthorizedError(
                "This key is not valid here; the key is in the file api-key of the server's data "
                "folder."
            )
        return tenant

    async def close(self) -> None:
        """Release threads and connections; nothing is served any more."""
        self.draining = True
        self.encoders.shutdown(cancel_futures=True)
        await self.workers.close()
        self.dispatcher.close()


def signing_by(settings: Settings) -> Signing | None:
    """What signs images by these settings. Raises ConfigurationError."""
    return signing_of(settings.c2pa_certificate, settings.c2pa_key, settings.c2pa_algorithm)


async def services_of(request: Request) -> Services:
    """The services that the lifespan of this application built."""
    services: Services = request.state.services
    return services


Provided = Annotated[Services, Depends(services_of)]

bearer = HTTPBearer(auto_error=False, description="the key in `<data folder>/api-key`")
"""Reads the key that came with a request."""


async def digest_of(
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> bytes:
    """SHA-256 of the key that came with the request. Raises UnauthorizedError.

    Keys are looked up by it, so no comparison depends on how much of a key is right.
    """
    if credentials is None:
        raise UnauthorizedError(
            "Send the header `Authorization: Bearer KEY`; the key is in the file api-key of the "
            "server's data folder."
        )
    return hashlib.sha256(credentials.credentials.encode()).digest()


def tenant_of(services: Provided, digest: Annotated[bytes, Depends(digest_of)]) -> str:
    """The tenant whose key came with the request. Raises UnauthorizedError."""
    return services.tenant_of(digest)


async def recent_tenant_of(services: Provided, digest: Annotated[bytes, Depends(digest_of)]) -> str:
    """The same, as of `ACCESS_SECONDS` ago at most: for requests that cost less than the look."""
    return await services.tenants.get(digest)


Tenant = Annotated[str, Depends(tenant_of)]
RecentTenant = Annotated[str, Depends(recent_tenant_of)]
