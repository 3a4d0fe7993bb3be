"""The route that is asked most: found first, and answered without what it does not need.

FastAPI looks for a route among all of them, in each router twice, and solves dependencies that
are declared by type; for a small batch of samples that costs more than drawing it. So
`POST /v1/samples` has a second way to the same function, with the same checks in the same order.
FastAPI's own route stays what the API's document is made of, and a test holds the two together.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.samples import create_samples
from app.api.services import bearer, digest_of, recent_tenant_of, services_of
from app.api.strict import StrictRequest
from app.errors import MalformedRequestError
from app.jobs.request import JobRequest

PATH = "/v1/samples"
_NOTHING: dict[str, Any] = {
    "type": "missing",
    "loc": ("body",),
    "msg": "Field required",
    "input": None,
}


def install(app: FastAPI) -> None:
    """Put the direct way before every other route."""
    app.router.routes.insert(0, Route(PATH, _samples, methods=["POST"], include_in_schema=False))


async def _samples(plain: Request) -> Response:
    """`create_samples`, given what its parameters declare."""
    request = StrictRequest(plain.scope, plain.receive)
    try:
        document = await request.json() if await request.body() else _NOTHING
    except ClientDisconnect as error:
        raise MalformedRequestError("The request can't be read.") from error
    services = await services_of(request)
    tenant = await recent_tenant_of(services, await digest_of(await bearer(request)))
    body = _validated(document)
    return await create_samples(
        services, tenant, body, request, request.headers.get("accept", "*/*")
    )


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
