"""What the child says of a file, validated: it is data from a stranger too."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from models.spec import Frozen

ShortText = Annotated[str, StringConstraints(max_length=512)]
Path_ = Annotated[tuple[ShortText, ...], Field(max_length=16)]


class TensorRow(Frozen):
    """One tensor of the chosen part, in the file's order.

    dtype: as stored now; original_dtype: in the file. non_finite: infinities and not-a-numbers.
    """

    name: ShortText
    dtype: ShortText
    original_dtype: ShortText
    shape: Annotated[tuple[int, ...], Field(max_length=8)]
    non_finite: int = Field(ge=0)


class Report(Frozen):
    """What the file was. path: keys under which the tensors were; parts: all such places.

    scalars: numbers and texts beside them; devices: where the tensors were when they were saved.
    """

    format: ShortText
    path: Path_
    parts: Annotated[tuple[Path_, ...], Field(max_length=64)]
    scalars: dict[ShortText, bool | int | float | ShortText]
    devices: Annotated[tuple[ShortText, ...], Field(max_length=16)]
    tensors: tuple[TensorRow, ...]

    @property
    def non_finite(self) -> int:
        """Numbers of the whole part that are infinite or no number."""
        return sum(row.non_finite for row in self.tensors)
