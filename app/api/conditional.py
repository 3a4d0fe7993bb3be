"""Conditional and partial answers, by RFC 9110."""

from __future__ import annotations

import re

from fastapi import Request
from fastapi.responses import FileResponse
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable
from starlette.types import Receive, Scope, Send

from app.errors import RangeNotSatisfiableError

_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def not_modified(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` names this entity tag (section 13.1.2, weak comparison)."""
    given = ", ".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or tag in _TAG.findall(given)


class Download(FileResponse):
    """A file, whole or in part.

    A `Range` that section 14.2 has servers ignore (another unit, bad syntax, any on HEAD) is
    ignored; one beyond the end is a problem with status 416.
    """

    chunk_size = 1 << 18
    """Read and sent at a time. Each costs the same turns of the event loop and a thread."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["method"] == "HEAD":
            headers = [pair for pair in scope["headers"] if pair[0] != b"range"]
            scope = {**scope, "headers": headers}
        await super().__call__(scope, receive, send)

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []
        except RangeNotSatisfiable as error:
            raise RangeNotSatisfiableError(
                f"The file has {file_size} bytes; ask for a range that begins before its end.",
                size=file_size,
            ) from error
