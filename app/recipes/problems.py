"""What is wrong with a recipe, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_SHOWN = 10


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong, where it is, and what is allowed there."""

    mark: Mark
    sentence: str


class RecipeError(Exception):
    """A recipe can't be carried out; `str()` has a line for each complaint."""

    def __init__(self, name: str, complaints: Sequence[Complaint]) -> None:
        shown = sorted(complaints, key=lambda complaint: complaint.mark)[:MOST_SHOWN]
        self.name = name
        self.complaints = tuple(shown)
        self.count = len(complaints)
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """`file:line:column: sentence`, as compilers write it and editors read it."""
        return [
            f"{self.name}:{one.mark.line}:{one.mark.column}: {one.sentence}"
            for one in self.complaints
        ]
