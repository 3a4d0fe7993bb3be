"""Declared tensors, checked by arithmetic before a byte of them is read."""

from __future__ import annotations

from math import prod
from typing import Any, Final

from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.values import ITEM_BYTES, UNTYPED, Storage, Tensor

DIMENSIONS: Final = 8
ITEMS: Final = 1 << 40
"""More items than any file that is imported has bytes."""


def rebuilt(storage: Any, offset: Any, size: Any, strides: Any, dtype: str | None = None) -> Tensor:
    """The tensor that views `storage` so, if it stays inside it and repeats nothing.

    Offset and strides count items, as `Tensor.set_` takes them. `dtype` is that of the storage
    unless the storage is one of bytes.
    """
    if not isinstance(storage, Storage):
        raise _wrong("it has no storage")
    kind = dtype or storage.dtype
    if kind not in ITEM_BYTES:
        raise UnsupportedCheckpointError(Kind.DTYPE, kind)
    shape, steps = _numbers(size), _numbers(strides)
    if len(shape) != len(steps) or type(offset) is not int or not 0 <= offset < ITEMS:
        raise _wrong("shape, strides and offset are no numbers that fit one another")
    items = storage.numel
    if storage.dtype == UNTYPED:
        items //= ITEM_BYTES[kind]
    elif kind != storage.dtype:
        raise _wrong(f"it reads {storage.dtype} as {kind}")
    _check_view(shape, steps, offset, items)
    return Tensor(storage, kind, offset, shape, steps)


def _numbers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > DIMENSIONS:
        raise _wrong(f"shape and strides are no lists of at most {DIMENSIONS} numbers")
    if not all(type(value) is int and 0 <= value < ITEMS for value in values):
        raise _wrong("shape or strides hold what is no size")
    return tuple(values)


def _check_view(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, items: int) -> None:
    count = prod(shape)
    if not count:
        return
    if any(step == 0 for side, step in zip(shape, strides, strict=True) if side > 1):
        raise _wrong(f"shape {list(shape)} repeats few numbers (stride 0)")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if last >= items or count > items:
        raise _wrong(f"shape {list(shape)} needs more than the {items} numbers of its storage")


def is_contiguous(tensor: Tensor) -> bool:
    """Whether the numbers lie in the order of C."""
    step = 1
    for side, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if side != 1 and stride != step:
            return False
        step *= side
    return True


def _wrong(detail: str) -> UnsupportedCheckpointError:
    return UnsupportedCheckpointError(Kind.BAD_TENSOR, detail)
