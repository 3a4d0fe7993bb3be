"""The task of the sandbox: a checkpoint in, plain tensors as safetensors and a report out.

Floats are kept as they are, but float64 becomes float32; integers and booleans are kept. The
tensors keep the order of the file, which for a state dict is the order of the layers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from models.errors import CheckpointError
from models.header import HEADER_BYTES_LIMIT, LENGTH_BYTES, Entry, parse_header
from models.importing.archive import CHUNK_BYTES, chunks
from models.importing.errors import Kind, UnsupportedCheckpointError, shown
from models.importing.formats import Format, identify
from models.importing.limits import Limits
from models.importing.parts import (
    NAME_CHARACTERS,
    Part,
    check_names,
    choose,
    find_parts,
    scalars_around,
)
from models.importing.tensors import is_contiguous
from models.importing.torch_file import Contents, read_legacy, read_zip
from models.importing.values import ITEM_BYTES, Storage, Tensor

STORED_AS: Final = {"F64": "F32"}
EXPONENT: Final = {
    "F64": ("<u8", 0x7FF0000000000000),
    "F32": ("<u4", 0x7F800000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""All bits of the exponent set: infinity or no number (IEEE 754; bfloat16 is half a float32)."""

PARTS_NAMED: Final = 32
Numbers = npt.NDArray[Any]


def run(source: BinaryIO, output: BinaryIO, options: dict[str, Any]) -> dict[str, Any]:
    """Read `source`, write safetensors to `output`, and say what is in it.

    Options: "size", "limits" (fields of `Limits`), "state" (path of the part, or none).
    """
    size, limits = options["size"], Limits(**options["limits"])
    found = identify(source, size)
    if found is Format.ONNX:
        raise UnsupportedCheckpointError(Kind.UNRECOGNISED, "an ONNX model is no state dict")
    if found is Format.SAFETENSORS:
        contents = _safetensors(source, size)
    elif found is Format.ZIP:
        contents = read_zip(source, size)
    else:
        contents = read_legacy(source, size)
    parts = find_parts(contents.value)
    wanted = options.get("state")
    part = choose(parts, None if wanted is None else tuple(wanted))
    _check_size(part, limits, size)
    table = _write(source, output, contents, part)
    return {
        "format": "torch-legacy" if found is Format.PICKLE else f"{_SPELLED.get(found, found)}",
        "path": list(part.path),
        "parts": [[shown(key) for key in other.path] for other in parts[:PARTS_NAMED]],
        "scalars": scalars_around(contents.value, part.path),
        "devices": list(contents.locations),
        "tensors": table,
    }


_SPELLED: Final = {Format.ZIP: "torch"}


def _safetensors(source: BinaryIO, size: int) -> Contents:
    """The same values of a safetensors file: one storage a tensor, at its place in the file."""
    source.seek(0)
    length = int.from_bytes(source.read(LENGTH_BYTES), "little")
    head = source.read(min(length, HEADER_BYTES_LIMIT + 1))
    try:
        entries = parse_header(length.to_bytes(LENGTH_BYTES, "little") + head, size)
    except CheckpointError as error:
        raise UnsupportedCheckpointError(Kind.DAMAGED, str(error)) from error
    start = LENGTH_BYTES + length
    value, regions = {}, {}
    for name, entry in entries.items():
        value[name] = _tensor_of(name, entry)
        regions[name] = (start + entry.begin, entry.end - entry.begin)
    return Contents(value, regions, ())


def _tensor_of(name: str, entry: Entry) -> Tensor:
    strides, step = [], 1
    for side in reversed(entry.shape):
        strides.append(step)
        step *= side
    storage = Storage(name, entry.dtype, prod(entry.shape), "cpu")
    return Tensor(storage, entry.dtype, 0, entry.shape, tuple(reversed(strides)))


def _check_size(part: Part, limits: Limits, size: int) -> None:
    check_names(part)
    if len(part.tensors) > limits.tensors:
        raise UnsupportedCheckpointError(
            Kind.TOO_COMPLEX, f"{len(part.tensors)} tensors; at most {limits.tensors} are imported"
        )
    total = sum(prod(t.shape) * ITEM_BYTES[t.dtype] for t in part.tensors.values())
    names = sum(min(len(name), NAME_CHARACTERS) for name in part.tensors)
    if total > 2 * size or names > HEADER_BYTES_LIMIT // 2:
        raise UnsupportedCheckpointError(
            Kind.TOO_COMPLEX, f"its tensors share storage and would have {total} bytes"
        )


def _write(
    source: BinaryIO, output: BinaryIO, contents: Contents, part: Part
) -> list[dict[str, Any]]:
    """The safetensors file, tensor by tensor, and its table."""
    header: dict[str, Any] = {}
    position = 0
    for name, tensor in part.tensors.items():
        dtype = STORED_AS.get(tensor.dtype, tensor.dtype)
        length = prod(tensor.shape) * ITEM_BYTES[dtype]
        span = [position, position + length]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": span}
        position += length
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    if len(encoded) > HEADER_BYTES_LIMIT - 8:
        raise UnsupportedCheckpointError(Kind.TOO_COMPLEX, "the names of its tensors are too long")
    encoded += b" " * (-len(encoded) % 8)
    output.write(len(encoded).to_bytes(LENGTH_BYTES, "little") + encoded)
    return [
        {
            "name": name,
            "dtype": header[name]["dtype"],
            "original_dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "non_finite": _copy(source, output, contents.regions[tensor.storage.key], tensor),
        }
        for name, tensor in part.tensors.items()
    ]


def _copy(source: BinaryIO, output: BinaryIO, region: tuple[int, int], tensor: Tensor) -> int:
    """Write one tensor's numbers; gives how many of them are infinite or no number."""
    bad = 0
    for numbers in _numbers(source, region, tensor):
        if tensor.dtype == "F64":
            with np.errstate(over="ignore", invalid="ignore"):
                kept = numbers.view("<f8").astype("<f4")
            bad += count_non_finite(kept.view("<u1"), "F32")
            output.write(kept.data)
        else:
            bad += count_non_finite(numbers, tensor.dtype)
            output.write(numbers.data)
    return bad


def _numbers(source: BinaryIO, region: tuple[int, int], tensor: Tensor) -> Iterator[Numbers]:
    """The tensor's bytes in the order of C, in pieces of whole items."""
    item = ITEM_BYTES[tensor.dtype]
    offset = region[0] + tensor.offset * item
    length = prod(tensor.shape) * item
    if not length:
        return
    if is_contiguous(tensor):
        for chunk in chunks(source, offset, length):
            yield np.frombuffer(chunk, dtype="<u1")
        return
    # Another order of axes (channels last): the numbers are inside the storage, as was checked.
    span = item * (1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)))
    content = np.empty(span, dtype="<u1")
    source.seek(offset)
    if source.readinto(content.data) != span:  # type: ignore[attr-defined]
        raise UnsupportedCheckpointError(Kind.DAMAGED, "it ends before its tensors do")
    whole = content.view(f"<u{item}")
    view = np.lib.stride_tricks.as_strided(
        whole, tensor.shape, [item * step for step in tensor.strides], writeable=False
    )
    ordered = np.ascontiguousarray(view).reshape(-1).view("<u1")
    for begin in range(0, length, CHUNK_BYTES):
        yield ordered[begin : begin + CHUNK_BYTES]


def count_non_finite(content: Numbers, dtype: str) -> int:
    """How many floats of `content`, bytes uint8 [n], are infinite or no number."""
    if dtype not in EXPONENT or not content.size:
        return 0
    unsigned, mask = EXPONENT[dtype]
    bits = content.view(unsigned)
    return int(np.count_nonzero((bits & np.array(mask, unsigned)) == mask))
