"""Which of several forms an `Accept` header asks for (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """The offered media type that the client likes best, or none that it takes.

    Of equal quality are those first that the header names more exactly, then those that are
    offered first. A header that can't be read takes nothing.
    """
    ranges = dict(_ranges(accept))
    best, most = None, (0.0, 0)
    for media_type in offered:
        patterns = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        rank = next(
            (
                (ranges[pattern], -place)
                for place, pattern in enumerate(patterns)
                if pattern in ranges
            ),
            (0.0, 0),
        )
        if rank[0] > 0 and (best is None or rank > most):
            best, most = media_type, rank
    return best


def _ranges(accept: str) -> list[tuple[str, float]]:
    """Media ranges without their parameters, and their quality."""
    found = []
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        found.append((kind, _quality(parameters)))
    return found


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
