"""The route that is asked most: the first to be looked for, and answered without needless steps.

FastAPI looks for a route among all of them, in each router twice, and solves dependencies that
are declared by type; for a small batch of samples that costs more than drawing it, and so does
planning it. So `POST /v1/samples` has a second way to the same functions, with the same checks in
the same order, on which requests that differ in their seed only are validated and planned once.
FastAPI's own route stays what the API's document is made of, and a test holds the two together.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Any, NamedTuple

from cachetools import LRUCache
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import answer_to
from app.api.samples import Prepared, answered, negotiated, prepare
from app.api.services import Services, bearer, digest_of, recent_tenant_of, services_of
from app.api.strict import StrictRequest
from app.errors import MalformedRequestError
from app.jobs.request import MAX_SEED, JobRequest

PATH = "/v1/samples"
MOST_KEPT = 256
"""Requests, apart from their seeds."""
MOST_KEPT_BYTES = 4_096
"""Of the body of each."""
_NOTHING: dict[str, Any] = {
    "type": "missing",
    "loc": ("body",),
    "msg": "Field required",
    "input": None,
}


def install(app: FastAPI) -> None:
    """Put the direct way before everything else, the other middleware too; call it last."""
    app.add_middleware(Direct)


class _Kept(NamedTuple):
    """A request that was planned, and the models that it named."""

    refs: list[str]
    prepared: Prepared

    def seeded(self, seed: int) -> Prepared:
        """The same with another seed."""
        return self.prepared._replace(plan=replace(self.prepared.plan, seed=seed))


class Direct:
    """Answers `POST /v1/samples`, and hands everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: LRUCache[tuple[str, str], _Kept] = LRUCache(MOST_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if not _takes(scope):
            await self._app(scope, receive, send)
            return
        request_id = scope["request_id"] = secrets.token_hex(8)
        request = StrictRequest(scope, receive)
        try:
            answer = await self._answer(request)
        except Exception as error:
            answer = await answer_to(request, error)
        answer.headers["X-Request-Id"] = request_id
        await answer(scope, receive, send)

    async def _answer(self, request: StrictRequest) -> Response:
        """What `create_samples` answers, given what its parameters declare."""
        try:
            text = await request.body()
            document = await request.json() if text else _NOTHING
        except ClientDisconnect as error:
            raise MalformedRequestError("The request can't be read.") from error
        services = await services_of(request)
        tenant = await recent_tenant_of(services, await digest_of(await bearer(request)))
        accept = request.headers.get("accept", "*/*")
        if len(text) > MOST_KEPT_BYTES or not _has_seed(document):
            body = _validated(document)
            media_type = negotiated(accept)
            prepared = await prepare(services, tenant, body)
        else:
            media_type, prepared = await self._recalled(services, tenant, document, accept)
        return await answered(services, prepared, media_type, request)

    async def _recalled(
        self, services: Services, tenant: str, document: dict[str, Any], accept: str
    ) -> tuple[str, Prepared]:
        # Not sorted: the order of keys may decide the order of classes.
        key = (tenant, json.dumps({**document, "seed": None}))
        kept = self._kept.get(key)
        if kept:
            specs = await services.models.specs(tenant, kept.refs)
            if specs == kept.prepared.specs:
                return negotiated(accept), kept.seeded(document["seed"])
        body = _validated(document)
        media_type = negotiated(accept)
        prepared = await prepare(services, tenant, body)
        self._kept[key] = _Kept([source.model for source in body.sources()], prepared)
        return media_type, prepared


def _takes(scope: Scope) -> bool:
    # A body without a length is rare, and one with two is refused by the application.
    return (
        scope["type"] == "http"
        and scope["path"] == PATH
        and scope["method"] == "POST"
        and all(name != b"transfer-encoding" for name, _ in scope["headers"])
    )


def _has_seed(document: Any) -> bool:
    """Whether this is an object with a seed that the request's model takes."""
    seed = document.get("seed") if isinstance(document, dict) else None
    return type(seed) is int and 0 <= seed <= MAX_SEED


def _validated(document: Any) -> JobRequest:
    """The request of a body. Raises RequestValidationError, with places as FastAPI has them."""
    if document is _NOTHING:
        raise RequestValidationError([_NOTHING])
    try:
        return JobRequest.model_validate(document, from_attributes=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError(
            [{**entry, "loc": ("body", *entry["loc"])} for entry in found], body=document
        ) from error
