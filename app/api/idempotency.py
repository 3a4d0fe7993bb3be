"""The same key with the same request is the same work, however often it is sent."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel

from app.errors import MalformedRequestError

IdempotencyKey = Annotated[
    str | None,
    Header(description="1 to 255 printable ASCII characters: the same key, the same job"),
]


def checked_key(key: str | None) -> str | None:
    """The key, bare or from its quotes. Raises MalformedRequestError."""
    if key is None:
        return None
    bare = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not 1 <= len(bare) <= 255 or not all(" " <= character <= "~" for character in bare):
        raise MalformedRequestError("An Idempotency-Key has 1 to 255 printable ASCII characters.")
    return bare


def fingerprint_of(body: BaseModel) -> str:
    """SHA-256 of what was asked for."""
    document = body.model_dump(mode="json", exclude_unset=True)
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
