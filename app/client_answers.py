"""From an answer of the service to its type, and from a name to a piece of a path."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from app.client_errors import ClientError, UnexpectedAnswerError
from app.client_types import Answer

A = TypeVar("A", bound=Answer)


def parsed(kind: type[A], response: httpx.Response) -> A:
    """The answer. Raises UnexpectedAnswerError where it is none."""
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise UnexpectedAnswerError(
            f"{response.request.url} did not answer as a Synthloom service does; check the "
            "address, and that client and service are of the same version."
        ) from error


def segment(text: str) -> str:
    """One path segment; what would leave it is refused rather than sent elsewhere."""
    if not text or text in (".", ".."):
        raise ClientError(f"{text!r} is not a name; look at the list for one.")
    return quote(text, safe="@")
