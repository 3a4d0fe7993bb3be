"""Specs of registered models for requests that cannot wait for the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from cachetools import TTLCache
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from app import catalogue
from app.errors import NotFoundError, UnknownModelError
from models.spec import ModelSpec

FRESH_SECONDS = 1.0
"""How long a name may still mean what it did before a model was registered, chosen or deleted."""


class KnownModels:
    """Specs by tenant and reference; used on the event loop only."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Session]]) -> None:
        self._transaction = transaction
        self._specs: TTLCache[tuple[str, str], ModelSpec] = TTLCache(1_024, FRESH_SECONDS)

    async def specs(self, tenant: str, refs: Sequence[str]) -> list[ModelSpec]:
        """The specs of `name` or `name@version`, in order. Raises UnknownModelError."""
        found = {ref: self._specs.get((tenant, ref)) for ref in refs}
        missing = [ref for ref, spec in found.items() if spec is None]
        if missing:
            read = await run_in_threadpool(self._read, tenant, missing)
            self._specs.update({(tenant, ref): spec for ref, spec in read.items()})
            found |= read
        return [spec for ref in refs if (spec := found[ref])]

    def forget(self) -> None:
        """Read everything again: what names mean has changed."""
        self._specs.clear()

    def _read(self, tenant: str, refs: Sequence[str]) -> dict[str, ModelSpec]:
        with self._transaction() as session:
            return dict(zip(refs, resolved(session, tenant, refs), strict=True))


def resolved(session: Session, tenant: str, refs: Sequence[str]) -> list[ModelSpec]:
    """The specs of `name` or `name@version`, as the database has them. Raises UnknownModelError."""
    try:
        return [catalogue.spec_of(catalogue.find(session, tenant, ref)) for ref in refs]
    except NotFoundError as error:
        raise UnknownModelError(error.detail) from error
