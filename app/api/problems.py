"""One body for every error: RFC 9457, `application/problem+json`."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import (
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    RangeNotSatisfiableError,
    SynthloomError,
    UnauthorizedError,
    ValidationError,
    tree,
)

log = logging.getLogger(__name__)
router = APIRouter(tags=["service"])


_MEMBERS = {
    "type": "`/problems/<slug>`: what happened; GET it for its meaning",
    "title": "the same for every problem of the type",
    "detail": "what happened this time, and what to do",
    "instance": "this occurrence",
    "request_id": "the `X-Request-Id` of the answer",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457); some types have more members",
        "content": {
            "application/problem+json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        **{k: {"type": "string", "description": v} for k, v in _MEMBERS.items()},
                        "status": {"type": "integer"},
                        "errors": {
                            "type": "array",
                            "description": "the parts of a request that are not valid",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "detail": {"type": "string"},
                                    "pointer": {"type": "string"},
                                },
                            },
                        },
                        "retry_after": {"type": "integer", "description": "seconds"},
                    },
                }
            }
        },
    }
}
"""What every operation may answer instead, for the OpenAPI document."""


class RequestId:
    """Gives every request an id, in its scope and in the answer's `X-Request-Id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = request_id = secrets.token_hex(8)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Request-Id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


class OneLength:
    """Refuses requests that say twice, and differently, how long they are.

    Whoever stands in front of the service may have believed the other length, and what is left
    over would be taken for the next request of somebody else. So nothing more is read from that
    connection (RFC 9112, 6.3).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        names = {name for name, _ in scope.get("headers", ())}
        if scope["type"] != "http" or not {b"content-length", b"transfer-encoding"} <= names:
            await self._app(scope, receive, send)
            return
        error = MalformedRequestError("Send `Content-Length` or `Transfer-Encoding`, not both.")
        answer = respond(Request(scope), error, {"Connection": "close"})
        await answer(scope, receive, send)


def install(app: FastAPI) -> None:
    """Answer every failure of the application with a problem."""
    app.add_middleware(OneLength)
    app.add_middleware(RequestId)
    for kind, answer in _ANSWERS.items():
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(Exception, _unexpected)
    app.include_router(router)


async def answer_to(request: Request, error: Exception) -> Response:
    """What the application answers to an error; raises again one that nobody expected."""
    for kind, answer in _ANSWERS.items():
        if isinstance(error, kind):
            return await answer(request, error)
    raise error


def respond(request: Request, error: SynthloomError, headers: dict[str, str]) -> JSONResponse:
    """The answer for an error of the tree."""
    headers = dict(headers)
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="synthloom"'
    if isinstance(error, RangeNotSatisfiableError):
        headers["Content-Range"] = f"bytes */{error.members['size']}"
    request_id = request.scope.get("request_id")
    headers["X-Request-Id"] = str(request_id)
    body = {
        **error.problem(),
        "instance": f"urn:synthloom:request:{request_id}",
        "request_id": request_id,
    }
    return JSONResponse(body, error.status, headers, media_type="application/problem+json")


async def _expected(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SynthloomError)
    if error.status >= 500:
        log.error("%s: %s", error.slug, error.detail, exc_info=error.__cause__)
    return respond(request, error, {})


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [_pointed(entry) for entry in error.errors()[:50]]
    if any(entry["type"] == "json_invalid" for entry in error.errors()):
        return respond(request, MalformedRequestError("The body is not valid JSON."), {})
    first = errors[0]
    problem = ValidationError(
        f"{first['pointer']}: {first['detail']}. Correct the request and send it again.",
        errors=errors,
    )
    return respond(request, problem, {})


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        return respond(
            request,
            MethodNotAllowedError(f"Use one of: {headers.get('allow', 'GET')}."),
            headers,
        )
    if error.status_code == 404:
        return respond(
            request, NotFoundError("There is no such path; /docs lists those that exist."), headers
        )
    return respond(request, MalformedRequestError("The request can't be read."), headers)


_ANSWERS = {SynthloomError: _expected, RequestValidationError: _invalid, HTTPException: _http}


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", exc_info=error)
    return respond(
        request,
        SynthloomError(
            "The server met an error that it does not know. Report it with the request id."
        ),
        {},
    )


def _pointed(entry: dict[str, Any]) -> dict[str, str]:
    where: Sequence[Any] = entry["loc"]
    source, path = (where[0], where[1:]) if where else ("body", ())
    steps = [str(step).replace("~", "~0").replace("/", "~1")[:80] for step in path]
    pointer = "/" + "/".join(steps) if source == "body" else f"{source} {'/'.join(steps)}"
    return {"detail": ascii(str(entry["msg"]))[1:-1], "pointer": ascii(pointer)[1:-1]}


@router.get("/problems/{slug}", summary="What a problem type means")
def problem_type(slug: str) -> dict[str, Any]:
    """Title, status and meaning of a `type` that this service uses in its problems."""
    for cls in tree():
        if cls.slug == slug:
            meaning = (cls.__doc__ or "").strip()
            return {"type": f"/problems/{slug}", "title": cls.title, "status": cls.status,
                    "meaning": meaning}  # fmt: skip
    raise NotFoundError("There is no such problem type.")
