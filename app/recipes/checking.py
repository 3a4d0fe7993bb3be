"""From what pydantic says of a recipe to sentences with a line and what is allowed there."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from app.recipes.allowed import Allowed
from app.recipes.document import Document, Path
from app.recipes.problems import Complaint, RecipeError

_YES_AND_NO = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_OWN_WORDS = ("value_error", "assertion_error")
"""Errors whose message says all there is to say."""
_KINDS = ("_type", "literal_error")
"""Endings of errors of which what is allowed says more than the message."""
Error = dict[str, Any]


def refusal(document: Document, errors: Sequence[Error], allowed: Allowed) -> RecipeError:
    """The error of a document, from the errors that pydantic found in it."""
    by_path: dict[Path, list[Error]] = {}
    for error in errors:
        by_path.setdefault(_path_in(document.value, error), []).append(error)
    # Of a choice, pydantic tells what is wrong with each: the one that fits farthest was meant.
    deepest = {
        path: found
        for path, found in by_path.items()
        if not any(len(other) > len(path) and other[: len(path)] == path for other in by_path)
        or any(error["type"] in _OWN_WORDS for error in found)
    }
    complaints = [_complaint(document, path, found, allowed) for path, found in deepest.items()]
    return RecipeError(document.name, complaints)


def _path_in(value: Any, error: Error) -> Path:
    """The steps of an error's place that are in the document; others name a choice."""
    path: list[str | int] = []
    for step in error["loc"]:
        named = isinstance(value, dict) and step in value
        if named or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            value = value[step]
            path.append(step)
    return tuple(path)


def _complaint(
    document: Document, path: Path, errors: Sequence[Error], allowed: Allowed
) -> Complaint:
    kinds = {error["type"]: error for error in errors}
    if "extra_forbidden" in kinds:
        return Complaint(document.mark_of(path, key=True), _unknown(path, allowed))
    own = next((kinds[kind] for kind in _OWN_WORDS if kind in kinds), None)
    if own is not None:
        return Complaint(document.mark_of(path), f"{own['msg'].removeprefix('Value error, ')}")
    if "missing" in kinds and isinstance(errors[0]["input"], dict):
        name = kinds["missing"]["loc"][-1]
        return Complaint(document.mark_of(path), f'{_name(path)} lacks the field "{name}"')
    return Complaint(document.mark_of(path), _not_allowed(path, errors, allowed))


def _unknown(path: Path, allowed: Allowed) -> str:
    names = allowed.fields(path[:-1])
    near = difflib.get_close_matches(str(path[-1]), names, 1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    return f'"{path[-1]}" is no field of {_name(path[:-1])}; {hint}Allowed: {", ".join(names)}'


def _not_allowed(path: Path, errors: Sequence[Error], allowed: Allowed) -> str:
    value = errors[0]["input"]
    shown = json.dumps(value, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    words = allowed.words(path)
    said = f"{_name(path)} can't be {shown}"
    if len(errors) == 1 and not errors[0]["type"].endswith(_KINDS):
        said += f": {errors[0]['msg'].replace('Input should', 'it should')}"
    if isinstance(value, str) and value.lower() in _YES_AND_NO and "true" in words:
        return f"{said}; write {_YES_AND_NO[value.lower()]}"
    if isinstance(value, str) and value.replace("_", "").isdigit():
        return f"{said}; write {value.replace('_', '')}, without quotes"
    return f"{said}; allowed: {words}" if words else said


def _name(path: Sequence[str | int]) -> str:
    """`models[0].weight`, as a person would point at it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "a recipe"
