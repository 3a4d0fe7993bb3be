"""What pydantic found wrong, as a sentence with the path that the author of the JSON knows."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError

from models.declared.layers import LAYER_TYPES

TAGS: Final = LAYER_TYPES | {"latent", "one_hot", "embedding", "join"}
MOST_NAMED: Final = 3


def explain(error: ValidationError) -> str:
    """The first problems, as `layers.3.kernel: Input should be …`, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False)
    said = "; ".join(_said(problem) for problem in problems[:MOST_NAMED])
    left = len(problems) - MOST_NAMED
    return said + (f"; and {left} more" if left > 0 else "")


def _said(problem: Any) -> str:
    message: str = problem["msg"].removeprefix("Value error, ")
    message = message.replace("tuple", "list").replace("Tuple", "List")
    where = _path(problem["loc"])
    return f"{where}: {message}" if where else message


def _path(loc: tuple[str | int, ...]) -> str:
    """Without the tag that pydantic puts behind the place of an element of several types."""
    kept = [part for i, part in enumerate(loc) if not _is_tag(loc, i)]
    return ".".join(str(part) for part in kept)


def _is_tag(loc: tuple[str | int, ...], at: int) -> bool:
    return at > 0 and isinstance(loc[at - 1], int) and loc[at] in TAGS
