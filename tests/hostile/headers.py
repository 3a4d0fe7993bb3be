"""safetensors files whose header does not describe their bytes."""

from __future__ import annotations

import json
from typing import Any

from models.importing.errors import Kind
from tests.hostile.building import entry, safetensors
from tests.hostile.programs import Row

DAMAGED = {Kind.DAMAGED}
NOT_ONE = {Kind.DAMAGED, Kind.UNRECOGNISED}


def file(header: Any, body: bytes = b"", length: int | None = None) -> Row:
    return (lambda _: safetensors(header, body, length)), DAMAGED


W = entry([2, 2], 0, 16)
CASES: dict[str, Row] = {
    "huge-header": file({"w": W}, bytes(16), length=1 << 62),
    "header-beyond-file": file({"w": W}, bytes(16), length=4096),
    "header-of-nothing": ((lambda _: safetensors(b"", b"{}", 0)), NOT_ONE),
    "no-json": file(b'{"w": [', b"", None),
    "no-object": ((lambda _: safetensors([1, 2])), NOT_ONE),
    "deep-json": file(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "million-entries": file(b'{"a":' + b"1," * 3_000_000 + b"1}"),
    "30000-entries": file({f"w{n}": entry([0], 0, 0) for n in range(30_000)}),
    "overlap": file({"a": W, "b": entry([2, 2], 8, 24)}, bytes(24)),
    "gap": file({"a": W, "b": entry([2, 2], 20, 36)}, bytes(36)),
    "same-bytes-twice": file({"a": W, "b": W}, bytes(16)),
    "backwards": file({"w": entry([2, 2], 16, 0)}, bytes(16)),
    "beyond-the-file": file({"w": entry([1 << 20], 0, 4 << 20)}, bytes(16)),
    "trailing-bytes": file({"w": W}, bytes(20)),
    "wrong-dtype": file({"w": entry([2, 2], 0, 16, "C64")}, bytes(16)),
    "size-of-another-dtype": file({"w": entry([2, 2], 0, 16, "F64")}, bytes(16)),
    "overflowing-shape": file({"w": entry([1 << 32, 1 << 32], 0, 16)}, bytes(16)),
    "negative-shape": file({"w": entry([-2, -2], 0, 16)}, bytes(16)),
    "nan-shape": file(b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}', bytes(16)),
    "text-shape": file({"w": {"dtype": "F32", "shape": "22", "data_offsets": [0, 16]}}, bytes(16)),
    "entry-is-a-list": file({"w": [1]}, bytes(16)),
    "same-name-twice": file(
        b'{"w":' + json.dumps(W).encode() + b',"w":' + json.dumps(W).encode() + b"}", bytes(16)),
    "name-with-control": (
        (lambda _: safetensors({"a\u0000b": W}, bytes(16))), {Kind.BAD_NAME, Kind.DAMAGED}),
    "no-tensors": ((lambda _: safetensors({})), {Kind.NO_TENSORS}),
    "metadata-only": (
        (lambda _: safetensors({"__metadata__": {"a": "b"}})), {Kind.NO_TENSORS}),
    "zip-inside": file(b'{"w":1}', b"PK\x03\x04" + bytes(100)),
    "fine": ((lambda _: safetensors({"w": W}, bytes(16))), set()),
}  # fmt: skip
