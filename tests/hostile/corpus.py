"""The corpus: each file with the kinds it may be refused as; none means it may be imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from models.importing.errors import Kind
from tests.hostile import archives, headers, others, programs, tensors

Maker = Callable[[Path], bytes]


class Case(NamedTuple):
    """A file: made for a marker that whoever runs its code would leave behind."""

    name: str
    make: Maker
    kinds: frozenset[Kind]


def cases() -> Iterator[Case]:
    """All of them, in a fixed order."""
    for module in (programs, archives, tensors, headers, others):
        for name, (make, kinds) in module.CASES.items():
            yield Case(f"{module.__name__.rpartition('.')[2]}-{name}", make, frozenset(kinds))
