"""What names the dataset of a plan: the same on every server, whenever it is made. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import Field, fields, is_dataclass
from typing import Any

from pydantic import BaseModel

_DIGITS = 32
_NO_PART = ("engine_batch", "limits")
"""How many are drawn at a time is no part of what they are, nor what follows from the rest."""


def dataset_identifier(plan: Any) -> str:
    """32 hexadecimal digits of the SHA-256 of what a plan says.

    What has the value it would have anyway is left out, so that the name of a dataset stays what it
    is when plans learn to say more.
    """
    text = json.dumps(_stated(plan), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]


def _stated(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if is_dataclass(value):
        return {
            field.name: _stated(getattr(value, field.name))
            for field in fields(value)
            if field.name not in _NO_PART and not _usual(field, getattr(value, field.name))
        }
    if isinstance(value, tuple | list):
        return [_stated(member) for member in value]
    return value


def _usual(field: Field[Any], value: Any) -> bool:
    """Whether a field that need not be given has the value it has then."""
    if callable(field.default_factory):
        return bool(value == field.default_factory())
    return bool(value == field.default)
