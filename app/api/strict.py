"""Request bodies, read strictly: bounded, JSON only, no doubled key and no number but a number."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.errors import (
    BodyTooLargeError,
    MalformedRequestError,
    SynthloomError,
    UnsupportedMediaTypeError,
)

MAX_BODY_BYTES = 1 << 20


class StrictRequest(Request):
    """A request whose JSON can be trusted to mean one thing."""

    async def body(self) -> bytes:
        """The body, at most `MAX_BODY_BYTES`, however its length was announced."""
        if not hasattr(self, "_body"):
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise BodyTooLargeError(
                        f"A request body may have at most {MAX_BODY_BYTES} bytes.",
                        limit=MAX_BODY_BYTES,
                    )
                chunks.append(chunk)
            self._body = b"".join(chunks)
        if self._body:
            self._check_media_type()
        return self._body

    async def json(self) -> Any:
        """The body as JSON (RFC 8259). Raises MalformedRequestError."""
        try:
            text = (await self.body()).decode("utf-8")
            return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        except RecursionError as error:
            raise MalformedRequestError("The JSON is nested too deeply.") from error
        except ValueError as error:
            raise MalformedRequestError(f"The body is not valid JSON: {error}.") from error

    def _check_media_type(self) -> None:
        media_type, _, parameters = self.headers.get("content-type", "").partition(";")
        charset = parameters.strip().lower().replace('"', "")
        if (
            media_type.strip().lower() != "application/json"
            or charset not in ("", "charset=utf-8")
            or "content-encoding" in self.headers
        ):
            raise UnsupportedMediaTypeError(
                "Send the body as uncompressed UTF-8 JSON with the header "
                "`Content-Type: application/json`."
            )


class StrictRoute(APIRoute):
    """A route that reads its body with StrictRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the base class, given a strict request."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            try:
                return await handle(StrictRequest(request.scope, request.receive))
            except HTTPException as error:
                # FastAPI wraps whatever reading a body raises; ours say more.
                if isinstance(error.__cause__, SynthloomError):
                    raise error.__cause__ from error.__cause__.__cause__
                raise

        return strict


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise MalformedRequestError(f"The key {double[:80]!a} stands twice in one JSON object.")
    for name in found:
        if "\x00" in name or any("\ud800" <= character <= "\udfff" for character in name):
            raise MalformedRequestError(f"The key {name[:80]!a} has characters no name can have.")
    return found


def _refuse_constant(name: str) -> None:
    raise MalformedRequestError(f"{name} is not a JSON number.")
