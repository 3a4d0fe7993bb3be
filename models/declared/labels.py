"""How the one integer that asks for a class says each of several conditions. Imports no torch."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from models.declared.document import Condition
from models.errors import SpecError


class Digit(NamedTuple):
    """One condition of a label: row = label // divisor % values + first, or `fixed`, a row.

    rows: length of its table or one-hot vector. direct: the label is the row.
    """

    divisor: int
    values: int
    first: int
    rows: int
    fixed: int | None
    direct: bool


def digits_of(conditions: tuple[Condition, ...], class_count: int) -> dict[str, Digit]:
    """The conditions by name; the last one that is not fixed varies fastest."""
    if not conditions and class_count:
        conditions = (Condition(count=class_count),)
    counts = [each.count for each in conditions if each.fixed is None]
    combinations = prod(counts) if counts else 0
    if combinations != class_count:
        shown = " x ".join(map(str, counts)) or "none"
        raise SpecError(
            f"declared network: conditions: {shown} that are not fixed, {combinations} "
            f"combinations, where the spec has {class_count} classes"
        )
    digits, divisor = {}, combinations
    for each in conditions:
        fixed = None if each.fixed is None else each.fixed + each.first
        if fixed is None:
            divisor //= each.count
        direct = fixed is None and each.first == 0 and each.count == class_count
        digits[each.name] = Digit(divisor, each.count, each.first, each.table_rows, fixed, direct)
    return digits
