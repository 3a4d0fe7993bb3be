"""Where in a checkpoint's dictionaries the generator's tensors are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from models.importing.errors import Kind, UnsupportedCheckpointError, shown
from models.importing.values import Tensor

DEPTH: Final = 6
NODES: Final = 100_000
NAME_CHARACTERS: Final = 512
SCALARS: Final = 64
SCALAR_CHARACTERS: Final = 200

GENERATOR: Final = re.compile(r"^(net_?|model_?)?(g|gen|generator|dec|decoder)(_|$|\d)|generator")
AVERAGED: Final = re.compile(r"ema|averag|shadow")
OTHERS: Final = re.compile(
    r"^(net_?|model_?)?(d|dis|disc|critic|enc|e|q)(_|$|\d)|discriminator|critic|encoder|optim|"
    r"sched|scaler|loss|metric|classifier|perceptual|vgg|lpips|inception"
)


class Part(NamedTuple):
    """A dictionary of named tensors at `path` (keys from outside in), in the file's order."""

    path: tuple[str, ...]
    tensors: dict[str, Tensor]


def find_parts(value: Any) -> list[Part]:
    """Every dictionary of named tensors, outermost first."""
    if isinstance(value, Tensor):
        raise UnsupportedCheckpointError(Kind.NO_TENSORS, "it is a single tensor without a name")
    parts = [
        Part(path, tensors)
        for path, level in _dictionaries(value)
        if (tensors := {k: v for k, v in level.items() if isinstance(v, Tensor)})
        and all(isinstance(key, str) for key in tensors)
    ]
    if not parts:
        raise UnsupportedCheckpointError(Kind.NO_TENSORS)
    return parts


def _dictionaries(value: Any) -> Iterator[tuple[tuple[str, ...], dict[Any, Any]]]:
    """Dictionaries under keys of text, breadth first; each once, however often it is named."""
    level: list[tuple[tuple[str, ...], Any]] = [((), value)]
    seen: set[int] = set()
    for _ in range(DEPTH):
        below: list[tuple[tuple[str, ...], Any]] = []
        for path, node in level:
            if not isinstance(node, dict) or id(node) in seen:
                continue
            seen.add(id(node))
            if len(seen) > NODES:
                raise UnsupportedCheckpointError(Kind.TOO_COMPLEX, "too many dictionaries")
            yield path, node
            below += [((*path, k), v) for k, v in node.items() if isinstance(k, str)]
        level = below


def choose(parts: Sequence[Part], wanted: tuple[str, ...] | None) -> Part:
    """The part asked for; else the one whose keys say generator, averaged weights first."""
    if wanted is not None:
        for part in parts:
            if part.path == wanted:
                return part
        known = ", ".join(_spelled(part.path) for part in parts[:5])
        raise UnsupportedCheckpointError(
            Kind.NO_TENSORS, f"nothing under {_spelled(wanted)}; there are tensors under {known}"
        )
    return max(parts, key=lambda part: (_score(part.path), _bytes(part)))


def _score(path: tuple[str, ...]) -> int:
    words = [key.lower() for key in path]
    score = 0
    if any(OTHERS.search(word) for word in words):
        score -= 8
    if any(GENERATOR.search(word) for word in words):
        score += 4
    if any(AVERAGED.search(word) for word in words):
        score += 2
    return score


def _bytes(part: Part) -> int:
    return sum(math.prod(tensor.shape) for tensor in part.tensors.values())


def _spelled(path: tuple[str, ...]) -> str:
    return shown("/".join(path)) or "the top"


def check_names(part: Part) -> None:
    """Names are printable text of at most 512 characters, and none is the format's own."""
    for name in part.tensors:
        fine = name.isprintable() and 0 < len(name) <= NAME_CHARACTERS and name != "__metadata__"
        if not fine or not _is_encodable(name):
            raise UnsupportedCheckpointError(Kind.BAD_NAME, shown(name, 60))


def _is_encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def scalars_around(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """Numbers and short texts beside the part: {"nz": 100, "epoch": 25}; the innermost wins."""
    found: dict[str, Any] = {}
    for depth in range(len(path) + 1):
        if isinstance(value, dict):
            for key, item in value.items():
                if isinstance(key, str) and len(found) < SCALARS and _is_short(item):
                    found[shown(key)] = item
        value = value.get(path[depth]) if depth < len(path) and isinstance(value, dict) else None
    return found


def _is_short(item: Any) -> bool:
    if isinstance(item, str):
        return len(item) <= SCALAR_CHARACTERS and item.isprintable() and _is_encodable(item)
    if isinstance(item, float):
        return math.isfinite(item)
    return isinstance(item, int) and abs(item) < 1 << 53
