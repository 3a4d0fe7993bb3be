"""The parts that hostile files are made of: archives, pickles, headers, written by hand."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

MAGIC = 0x1950A86A20F9469CFC6C


def state_dict() -> OrderedDict[str, torch.Tensor]:
    """A small generator that there is nothing wrong with: 4 -> 6 -> 9 = 3 x 3."""
    made = torch.Generator().manual_seed(1)
    shapes = {"l1.weight": (6, 4), "l1.bias": (6,), "l2.weight": (9, 6), "l2.bias": (9,)}
    return OrderedDict((name, torch.randn(size, generator=made)) for name, size in shapes.items())


def saved(value: Any, **options: Any) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def legacy(value: Any) -> bytes:
    """What torch.save wrote before 1.6."""
    return saved(value, _use_new_zipfile_serialization=False)


def torch_zip(
    pickled: bytes,
    storages: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
    extra: Mapping[str, bytes] | None = None,
) -> bytes:
    """A zip archive as torch.save lays it out, with any pickle inside."""
    members = {"archive/data.pkl": pickled, "archive/byteorder": b"little"}
    members |= {f"archive/data/{key}": content for key, content in (storages or {}).items()}
    return zipped(members | dict(extra or {}), compression)


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of those members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


class Op:
    """Opcodes of a pickle, put together by hand: protocol 2."""

    def __init__(self) -> None:
        self.code = b"\x80\x02"

    def raw(self, code: bytes) -> Op:
        self.code += code
        return self

    def text(self, value: str) -> Op:
        encoded = value.encode("utf-8", "surrogatepass")
        return self.raw(b"X" + struct.pack("<I", len(encoded)) + encoded)

    def number(self, value: int) -> Op:
        size = value.bit_length() // 8 + 1
        encoded = value.to_bytes(size, "little", signed=True)
        return self.raw(b"\x8b" + struct.pack("<i", size) + encoded)

    def name(self, path: str) -> Op:
        module, _, name = path.rpartition(".")
        return self.raw(f"c{module}\n{name}\n".encode())

    def numbers(self, values: tuple[Any, ...]) -> Op:
        self.raw(b"(")
        for value in values:
            self.value(value)
        return self.raw(b"t")

    def value(self, value: Any) -> Op:
        """A number as it is; anything else through Python's own pickle."""
        if type(value) is int:
            return self.number(value)
        return self.raw(pickle.dumps(value, 2)[2:-1])

    def storage(self, key: str, kind: str = "FloatStorage", numel: Any = 4) -> Op:
        self.raw(b"(").text("storage").name(f"torch.{kind}").text(key).text("cpu").value(numel)
        return self.raw(b"tQ")

    def tensor(
        self, shape: tuple[Any, ...], strides: tuple[Any, ...], key: str = "0", offset: Any = 0,
        numel: Any = 4, kind: str = "FloatStorage",
    ) -> Op:  # fmt: skip
        self.name("torch._utils._rebuild_tensor_v2").raw(b"(").storage(key, kind, numel)
        self.value(offset).numbers(shape).numbers(strides)
        return self.raw(b"\x89ccollections\nOrderedDict\n)RtR")

    def end(self) -> bytes:
        return self.code + b"."


def one_tensor(*arguments: Any, storage: bytes = bytes(16), **options: Any) -> bytes:
    """A torch file with the single tensor "w", described as the arguments say."""
    code = Op().raw(b"}").text("w").tensor(*arguments, **options).raw(b"s").end()
    return torch_zip(code, {"0": storage})


def safetensors(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(encoded) if length is None else length
    return struct.pack("<Q", size) + encoded + body


def entry(shape: list[Any], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    """One entry of such a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
