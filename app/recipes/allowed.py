"""What may stand at a place of a recipe, in words, read from the JSON Schema of a recipe. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_NAMES = {"string": "a text", "boolean": "true or false", "array": "a list", "null": ""}
_BOUNDS = (
    ("minimum", "at least"), ("exclusiveMinimum", "more than"),
    ("maximum", "at most"), ("exclusiveMaximum", "less than"),
)  # fmt: skip
_MOST_NAMES = 30


class Allowed:
    """Looks things up in one schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def fields(self, path: Sequence[str | int]) -> list[str]:
        """The names of the fields that a mapping at this path may have."""
        found: dict[str, None] = {}
        for one in self._at(path):
            found |= dict.fromkeys(one.get("properties", {}))
        return list(found)

    def words(self, path: Sequence[str | int]) -> str:
        """Everything that may stand at this path: `"max" or a whole number, at least 1`."""
        said = [text for one in self._at(path) if (text := self._said(one))]
        return " or ".join(dict.fromkeys(said))

    def _at(self, path: Sequence[str | int]) -> list[Schema]:
        found = self._alternatives(self._schema)
        for step in path:
            inner = [part for one in found for part in self._parts(one, step)]
            found = [choice for part in inner for choice in self._alternatives(part)]
        return found

    @staticmethod
    def _parts(schema: Schema, step: str | int) -> list[Schema]:
        if isinstance(step, int):
            return [schema["items"]] if "items" in schema else []
        if step in schema.get("properties", {}):
            return [schema["properties"][step]]
        rest = schema.get("additionalProperties")
        return [rest] if isinstance(rest, Mapping) else []

    def _alternatives(self, schema: Schema) -> list[Schema]:
        """The schemas of which one must hold, none of which is a reference or a choice."""
        if "$ref" in schema:
            return self._alternatives(self._schema["$defs"][schema["$ref"].rsplit("/", 1)[1]])
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return [part for one in schema[word] for part in self._alternatives(one)]
        return [schema]

    def _said(self, schema: Schema) -> str:
        constants = [schema["const"]] if "const" in schema else schema.get("enum", [])
        if constants:
            return " or ".join(json.dumps(constant) for constant in constants)
        kind = schema.get("type", "")
        if kind == "object":
            names = list(schema.get("properties", {}))[:_MOST_NAMES]
            return f"a mapping with {', '.join(names)}" if names else "a mapping"
        if kind in ("integer", "number"):
            name = "a whole number" if kind == "integer" else "a number"
            bounds = [f"{word} {_number(schema[key])}" for key, word in _BOUNDS if key in schema]
            return ", ".join([name, *bounds])
        items = schema.get("items")
        if kind == "array" and items:
            inner = " or ".join(filter(None, map(self._said, self._alternatives(items))))
            return f"a list of {inner}" if len(inner) < 200 else "a list"
        return _NAMES.get(kind, "")


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"
