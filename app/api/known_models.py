"""Specs of registered models for requests that cannot wait for the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from sqlalchemy.orm import Session

from app import catalogue
from app.api.fresh import Fresh
from app.errors import NotFoundError, UnknownModelError
from models.spec import ModelSpec

FRESH_SECONDS = 1.0
"""How long a name may still mean what it did before a model was registered, chosen or deleted."""


class KnownModels:
    """Specs by tenant and reference; used on the event loop only."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Session]]) -> None:
        self._transaction = transaction
        self._specs = Fresh(self._read, FRESH_SECONDS)

    async def specs(self, tenant: str, refs: Sequence[str]) -> list[ModelSpec]:
        """The specs of `name` or `name@version`, in order. Raises UnknownModelError."""
        return [await self._specs.get((tenant, ref)) for ref in refs]

    def forget(self) -> None:
        """Read everything again: what names mean has changed."""
        self._specs.forget()

    def _read(self, asked: tuple[str, str]) -> ModelSpec:
        tenant, ref = asked
        with self._transaction() as session:
            [spec] = resolved(session, tenant, [ref])
        return spec


def resolved(session: Session, tenant: str, refs: Sequence[str]) -> list[ModelSpec]:
    """The specs of `name` or `name@version`, as the database has them. Raises UnknownModelError."""
    try:
        return [catalogue.spec_of(catalogue.find(session, tenant, ref)) for ref in refs]
    except NotFoundError as error:
        raise UnknownModelError(error.detail) from error
