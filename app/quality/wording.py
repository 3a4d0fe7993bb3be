"""Numbers of a report as people read them."""

from __future__ import annotations

from typing import Protocol

from pydantic import JsonValue

from app.quality.known_figures import KNOWN
from models.evaluation.lift_result import Classical

LONGEST_PLAIN = 600


class Ends(Protocol):
    """Both ends of an interval."""

    @property
    def low(self) -> float:
        """The lower one."""

    @property
    def high(self) -> float:
        """The upper one."""


def number(value: float) -> str:
    """Up to four significant digits, thousands marked: `0.0312`, `12.35`, `1,235`."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def share(value: float, places: int = 1) -> str:
    """A part of a whole in per cent: `94.3 %`."""
    return f"{100 * value:.{places}f} %"


def points(value: float) -> str:
    """A difference of two shares, in percentage points with its sign: `+1.23`."""
    return f"{100 * value:+.2f}"


def span(interval: Ends | None, *, per_cent: bool = True, signed: bool = False) -> str:
    """`93.1 … 95.2 %`, with the level where the interval has one; nothing for no interval."""
    if interval is None:
        return ""
    if signed:
        text = f"{points(interval.low)} … {points(interval.high)}"
    elif per_cent:
        text = ends_of(interval)
    else:
        text = f"{number(interval.low)} … {number(interval.high)}"
    level = getattr(interval, "confidence", None)
    return text if level is None else f"{text} ({100 * level:g} %)"


def ends_of(interval: Ends) -> str:
    """Both ends of an interval of shares: `93.1 … 95.2 %`."""
    return f"{100 * interval.low:.1f} … {100 * interval.high:.1f} %"


def value_of(name: str, value: float | None) -> str:
    """The value of a figure, in per cent where it is a share; nothing for an absent one."""
    if value is None:
        return ""
    known = KNOWN.get(name.partition("/")[0])
    if known is None or not known.share:
        return number(value)
    return f"{points(value)} points" if name == "lift" else share(value)


def classical(augmentation: Classical) -> str:
    """What classical augmentation did."""
    flips = [
        side
        for side, there in (
            ("left to right", augmentation.horizontal_flip),
            ("upside down", augmentation.vertical_flip),
        )
        if there
    ]
    flipped = f"flipped {' and '.join(flips)}" if flips else "not flipped"
    return (
        f"{flipped}, turned by up to {augmentation.degrees:g}°, cropped to at least "
        f"{100 * augmentation.crop:g} % of the area"
    )


def plain(value: JsonValue) -> str:
    """A value of a model's card on one line, shortened where it is long."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        text = ", ".join(plain(part) for part in value)
    elif isinstance(value, dict):
        text = ", ".join(f"{name} {plain(part)}" for name, part in value.items())
    elif value is None:
        text = "not measured"
    else:
        text = str(value)
    return text if len(text) <= LONGEST_PLAIN else f"{text[:LONGEST_PLAIN]}…"
