"""Names with a number in them: "layers.{n+2}" stands for layers.2, layers.3, … No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from models.declared import limits
from models.errors import SpecError

NUMBER = re.compile(r"\{([^{}]*)\}")
LINEAR = re.compile(r"([0-9]{0,3})n(?:([+-])([0-9]{1,3}))?")


def expand(names: Mapping[str, str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Rules of ours to theirs -> (those without a number, those with one written out).

    Several theirs for one of ours: two rules met.
    """
    plain = {ours: theirs for ours, theirs in names.items() if "{" not in ours + theirs}
    numbered: dict[str, list[str]] = {}
    for ours, theirs in names.items():
        if ours not in plain:
            for left, right in _written_out(ours, theirs):
                numbered.setdefault(left, []).append(right)
    return plain, numbered


def _written_out(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    if "n" not in "".join(NUMBER.findall(ours)) or "n" not in "".join(NUMBER.findall(theirs)):
        raise SpecError(f'tensors: names: "{ours}": "{theirs}": both need a {{n}}')
    for n in range(limits.LAYERS):
        left, right = _filled(ours, n), _filled(theirs, n)
        if left is not None and right is not None:
            yield left, right


def _filled(name: str, n: int) -> str | None:
    """The name with its numbers; None when one would be negative."""
    numbers = [_value(term, n) for term in NUMBER.findall(name)]
    if min(numbers) < 0:
        return None
    values = iter(numbers)
    return NUMBER.sub(lambda _: str(next(values)), name)


def _value(term: str, n: int) -> int:
    match = LINEAR.fullmatch(term.replace(" ", ""))
    if match is None:
        raise SpecError(
            f"tensors: names: {{{term}}} is no number; write {{n}}, {{n+2}}, {{n-1}} or {{3n+1}}"
        )
    factor, sign, offset = match.groups()
    return int(factor or 1) * n + int(f"{sign or ''}{offset or 0}")


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` is the whole name, with `*` for any characters and nothing else special."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    if not name.startswith(first) or not name.endswith(rest[-1]):
        return False
    at, end = len(first), len(name) - len(rest[-1])
    for piece in rest[:-1]:
        at = name.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return at <= end


def natural(name: str) -> list[tuple[int, int | str]]:
    """A key that sorts numbers in names by value: layer.2 before layer.10."""
    pieces = re.split(r"([0-9]{1,18})", name)
    return [(1, int(piece)) if piece.isdecimal() else (0, piece) for piece in pieces]
