"""Training curves out of a model's record, which its maker wrote: read with care."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TypeGuard

from pydantic import JsonValue

from app.quality.document import Curve

MOST_CURVES = 12
MOST_POINTS = 2_000
LONGEST_NAME = 60


def curves_of(training: Mapping[str, JsonValue]) -> tuple[Curve, ...]:
    """`{"curves": {"step": [0, 100, …], "generator": [0.7, …], …}}` as curves over the steps.

    What does not look like that is left out, as are points that are not finite numbers.
    """
    record = training.get("curves")
    if not isinstance(record, dict):
        return ()
    steps = record.get("step")
    if not isinstance(steps, list) or len(steps) > MOST_POINTS:
        return ()
    found = (_curve(name, steps, values) for name, values in record.items() if name != "step")
    return tuple(curve for curve in found if curve is not None)[:MOST_CURVES]


def _curve(name: str, steps: list[JsonValue], values: JsonValue) -> Curve | None:
    if not isinstance(values, list) or len(values) != len(steps):
        return None
    points = [
        (float(step), float(value))
        for step, value in zip(steps, values, strict=True)
        if _finite(step) and _finite(value)
    ]
    if not points:
        return None
    shown = "".join(letter for letter in name[:LONGEST_NAME] if letter.isprintable())
    return Curve(name=shown, steps=tuple(s for s, _ in points), values=tuple(v for _, v in points))


def _finite(value: JsonValue) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
