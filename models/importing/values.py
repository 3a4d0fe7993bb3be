"""What a pickle can say in a checkpoint, as plain values. Nothing in here can run anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple


class Global(NamedTuple):
    """A name that the pickle asks to import. It never is."""

    module: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


class Storage(NamedTuple):
    """Where a tensor's numbers lie: `numel` items of `dtype` under `key`."""

    key: str
    dtype: str
    numel: int
    location: str


class Tensor(NamedTuple):
    """A dense tensor as declared: checked against its storage, not yet read.

    Offset and strides count items of `dtype`.
    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class Opaque:
    """An object that is neither a tensor nor a number, such as the arguments of a training."""

    path: str


ITEM_BYTES: Final = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
"""Types of numbers that are imported, by their names in safetensors."""

STORAGES: Final = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16",
    "BFloat16Storage": "BF16", "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16",
    "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip
DTYPES: Final = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
    "double": "F64", "float": "F32", "half": "F16", "long": "I64", "int": "I32", "short": "I16",
}  # fmt: skip
UNTYPED: Final = "bytes"
"""Type of a storage that says nothing of its items."""
