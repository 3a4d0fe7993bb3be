"""A recipe: the request for a job as a file, checked as the service would check it.

What identifies a recipe is its content, the content of the models and classifiers that it names and
that of its datasets. From this SHA-256 follow the seed where none was given, and the idempotency
key: the same recipe gives the same dataset, on whatever machine.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
from pydantic import ConfigDict

from app.errors import SynthloomError
from app.jobs.asked_report import conditions_of
from app.jobs.request import JobRequest
from app.recipes.allowed import Allowed
from app.recipes.checking import refusal
from app.recipes.document import MAX_BYTES, Document, read_document

SCHEMA_ID = "urn:synthloom-recipe:1"
DATASET_PLACES = (
    ("balance", "dataset"),
    ("report", "against"),
    ("merge_with",),
    ("checks", "copies", "dataset"),
)
"""Where a recipe names a real dataset: by name or id, or, with a `/` in it, by its path."""
NOT_HASHED = {"webhook"}
"""Fields that say nothing of the dataset."""
_SEED_DIGITS = 13
"""Hexadecimal digits: 52 bits, within the largest seed."""


class Recipe(JobRequest):
    """A request for samples, as a file. A real dataset may be a path, relative to the file."""

    model_config = ConfigDict(title="Synthloom recipe")


@dataclass(frozen=True)
class ReadRecipe:
    """A recipe that is valid as far as its file alone shows."""

    path: Path
    document: Document
    request: Recipe

    @property
    def body(self) -> dict[str, Any]:
        """The fields as they were written."""
        return copy.deepcopy(dict(self.document.value))

    @property
    def models(self) -> list[str]:
        """The models that are asked for, as they were named."""
        return [source.model for source in self.request.sources()]

    def datasets(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Place and value of each real dataset that is named."""
        for place in DATASET_PLACES:
            value = _at(self.document.value, place)
            if isinstance(value, str):
                yield place, value

    def local(self, value: str) -> Path | None:
        """The path that a dataset's value means; None for a name or an id."""
        return self.path.parent / value if "/" in value else None

    def mentions(self, names: Mapping[str, str]) -> dict[str, str]:
        """Those entries of name → content whose name is a value somewhere in the recipe."""
        said = set(_texts(self.document.value))
        return {name: content for name, content in names.items() if name in said}


def read_recipe(path: Path) -> ReadRecipe:
    """The recipe of a file. Raises RecipeError with the lines of what is wrong, and OSError."""
    with path.open("rb") as file:
        document = read_document(file.read(MAX_BYTES + 1), str(path))
    try:
        request = Recipe.model_validate(document.value)
    except pydantic.ValidationError as error:
        errors = [dict(one) for one in error.errors(include_url=False)]
        raise refusal(document, errors, Allowed(Recipe.model_json_schema())) from error
    except SynthloomError as error:  # of what is read while it is checked
        raise document.complaint((), error.detail) from error
    read = ReadRecipe(path, document, request)
    _check(document, ("model",), request.sources)
    _check(document, ("gate",), lambda: conditions_of(request.gate, request.report))
    for place, value in read.datasets():
        local = read.local(value)
        if local is not None and not local.exists():
            raise document.complaint(place, f"there is nothing at {local}; name a file or a folder")
    return read


def _check(document: Document, place: tuple[str, ...], look: Callable[[], object]) -> None:
    try:
        look()
    except SynthloomError as error:
        raise document.complaint(place, error.detail) from error


def recipe_sha256(read: ReadRecipe, pinned: Mapping[str, str]) -> str:
    """What identifies a recipe.

    pinned: what it names → the SHA-256 of its content: models, classifiers, datasets.
    """
    asked = read.request.model_dump(mode="json", exclude_defaults=True, exclude=NOT_HASHED)
    return sha256_of({"recipe": asked, "pinned": dict(pinned)})


def sha256_of(document: Any) -> str:
    """SHA-256 of a document as canonical JSON: keys sorted, no spaces, UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def seed_of(digest: str) -> int:
    """The seed of a recipe that names none."""
    return int(digest[:_SEED_DIGITS], 16)


def content_sha256(path: Path) -> str:
    """Of a file its SHA-256; of a folder that of the names and contents of its files.

    Times and modes do not count, so that two checkouts of one repository are equal.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return sha256_of([[file.relative_to(path).as_posix(), content_sha256(file)] for file in files])


def place_at(body: dict[str, Any], place: tuple[str, ...], value: str) -> None:
    """Put a value where a dataset is named."""
    for step in place[:-1]:
        body = body[step]
    body[place[-1]] = value


def render_schema() -> str:
    """`docs/recipe.schema.json`: what editors check a recipe with."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **Recipe.model_json_schema(),
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _at(value: Any, place: tuple[str, ...]) -> Any:
    for step in place:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else ():
        yield from _texts(inner)
    for inner in value if isinstance(value, list) else ():
        yield from _texts(inner)
