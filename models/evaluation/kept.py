"""Parts of an evaluation that were measured already: JSON files named by what decides them.

An evaluation that was stopped goes on after the last part that it finished; one that is asked for
again with other options measures only what these change.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from models.files import write_atomically

PROCEDURE: Final = 1
"""Raised when the same data and options would give other figures: kept ones are not used then."""

Part = TypeVar("Part")


class _File(BaseModel):
    """What one file holds."""

    seconds: float
    part: JsonValue


class Kept:
    """The parts in one folder. seconds: what each took, whenever it was measured."""

    def __init__(self, folder: Path, facts: Mapping[str, JsonValue]) -> None:
        self.folder = folder
        self.facts = {"procedure": PROCEDURE, **facts}
        self.seconds: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def part(
        self,
        name: str,
        kind: type[Part],
        measure: Callable[[], Part],
        facts: Mapping[str, JsonValue] | None = None,
    ) -> Part:
        """The part of that name, measured unless a file has it; `facts` decide it beside others."""
        adapter: TypeAdapter[Part] = TypeAdapter(kind)
        text = json.dumps([name, {**self.facts, **(facts or {})}], sort_keys=True)
        path = self.folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
        known = _read(path, adapter)
        if known is None:
            began = time.monotonic()
            value = measure()
            known = time.monotonic() - began, value
            file = _File(seconds=known[0], part=adapter.dump_python(value, mode="json"))
            write_atomically(path, file.model_dump_json(indent=1).encode())
        self.seconds[name], found = known
        return found


def _read(path: Path, adapter: TypeAdapter[Part]) -> tuple[float, Part] | None:
    """Nothing where there is no file, or not one of ours: it is measured again."""
    try:
        file = _File.model_validate_json(path.read_bytes())
        return file.seconds, adapter.validate_python(file.part)
    except (OSError, ValidationError):
        return None
