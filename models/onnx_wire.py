"""The fields of an ONNX file, counted before the parser gives them memory.

A field of two bytes becomes an object of a hundred, so a small file could fill gigabytes. This
walks the wire format (https://protobuf.dev/programming-guides/encoding/) through the messages of
onnx.proto, keeps nothing, and stops at a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.onnx_graph import refusal

FIELD_LIMIT: Final = 500_000
NUMBER_BYTES_LIMIT: Final = 128 << 20
"""Of numbers that are written one by one and take 4 or 8 bytes each once parsed."""
DEPTH_LIMIT: Final = 100  # of the parser
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

MESSAGES: Final[Mapping[str, Mapping[int, str]]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute", 12: "Value"},
    "Graph": {1: "Node", 5: "Tensor", 11: "Value", 12: "Value", 13: "Value", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 14: "Type", 15: "Type",
        22: "Sparse", 23: "Sparse",
    },
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
    "Value": {2: "Type"},
    "Type": {1: "TensorType", 4: "Inner", 5: "Inner", 8: "TensorType", 9: "Inner"},
    "Inner": {1: "Type", 2: "Type"},
    "TensorType": {2: "Shape"},
    "Shape": {},
}  # fmt: skip
"""Message → its fields that are messages of this table. Others have no fields that grow."""

GROWTH: Final[Mapping[tuple[str, int], int]] = {
    ("Attribute", 8): 8,  # ints
    ("Sparse", 3): 8,  # dims
    ("Tensor", 1): 8,  # dims
    ("Tensor", 5): 4,  # int32_data
    ("Tensor", 7): 8,  # int64_data
    ("Tensor", 11): 8,  # uint64_data
}
"""Packed numbers of at least one byte → bytes of each once parsed."""


def check_wire(content: bytes) -> None:
    """Refuse a file whose fields would take far more memory than the file."""
    fields = number_bytes = 0
    stack = [(0, len(content), "Model", 0)]
    while stack:
        at, end, message, depth = stack.pop()
        inner = MESSAGES[message]
        while at < end:
            fields += 1
            if fields > FIELD_LIMIT:
                raise refusal(f"it has more than {FIELD_LIMIT} fields")
            key, at = _varint(content, at, end)
            start, at = _extent(content, at, end, key & 7)
            if key & 7 != BYTES:
                continue
            number_bytes += (at - start) * GROWTH.get((message, key >> 3), 0)
            if number_bytes > NUMBER_BYTES_LIMIT:
                raise refusal("its constants are written number by number; save raw ones")
            if key >> 3 in inner:
                if depth == DEPTH_LIMIT:
                    raise refusal(f"its messages are nested more than {DEPTH_LIMIT} deep")
                stack.append((start, at, inner[key >> 3], depth + 1))


def _extent(content: bytes, at: int, end: int, wire_type: int) -> tuple[int, int]:
    """Where the value of a field begins and ends."""
    if wire_type == VARINT:
        return at, _varint(content, at, end)[1]
    if wire_type == BYTES:
        length, at = _varint(content, at, end)
    else:
        length = {FIXED64: 8, FIXED32: 4}.get(wire_type, -1)
    if length < 0 or at + length > end:
        raise _cut_off()
    return at, at + length


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise _cut_off()


def _cut_off() -> Exception:
    return refusal("it is cut off or no protobuf message")
