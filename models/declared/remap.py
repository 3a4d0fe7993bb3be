"""A safetensors file of foreign names becomes one of ours, tensor by tensor. numpy, no torch.

Tensors that are only renamed are copied as bytes. Weights stored in parts are multiplied out, and
float64 is rounded, to float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from models.declared.folding import Found, Source
from models.errors import CheckpointError
from models.header import HEADER_BYTES_LIMIT, LENGTH_BYTES, Entry, parse_header

CHUNK_BYTES: Final = 1 << 20
NUMPY: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
Floats = npt.NDArray[np.float32]


def tensors_of(file: BinaryIO, size: int) -> dict[str, Found]:
    """Names, types and shapes of a safetensors file of `size` bytes, in the order of its header."""
    return {name: Found(e.dtype, e.shape) for name, e in _header(file, size)[0].items()}


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Entry], int]:
    file.seek(0)
    head = file.read(LENGTH_BYTES)
    length = int.from_bytes(head, "little")
    head += file.read(min(length, HEADER_BYTES_LIMIT))
    return parse_header(head, size), LENGTH_BYTES + length


def remap(file: BinaryIO, size: int, sources: Mapping[str, Source]) -> Iterator[bytes]:
    """The bytes of the file that has the tensors of `sources`, as `match_tensors` gave them.

    file: safetensors of `size` bytes, seekable. Equal tensors give equal bytes.
    """
    entries, start = _header(file, size)
    names = sorted(sources)
    kinds = {name: _kind(sources[name], entries) for name in names}
    yield _new_header(names, kinds)
    for name in names:
        yield from _tensor(file, start, entries, name, sources[name])


def _kind(source: Source, entries: Mapping[str, Entry]) -> Found:
    if source.kind == "zero":
        return Found("I64", ())
    first = entries[source.names[0]]
    renamed = source.kind == "copy" and first.dtype != "F64"
    return Found(first.dtype if renamed else "F32", first.shape)


ITEM_BYTES: Final = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}


def _new_header(names: list[str], kinds: Mapping[str, Found]) -> bytes:
    document: dict[str, Any] = {}
    position = 0
    for name in names:
        end = position + ITEM_BYTES[kinds[name].dtype] * prod(kinds[name].shape)
        document[name] = {
            "dtype": kinds[name].dtype,
            "shape": list(kinds[name].shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _tensor(
    file: BinaryIO, start: int, entries: Mapping[str, Entry], name: str, source: Source
) -> Iterator[bytes]:
    if source.kind == "zero":
        yield bytes(8)
        return
    first = entries[source.names[0]]
    if source.kind == "copy" and first.dtype != "F64":
        yield from _copied(file, start + first.begin, first.end - first.begin)
        return
    parts = [_read(file, start, entries[part]) for part in source.names]
    with np.errstate(all="ignore"):
        whole = _whole(source, parts).astype("<f4")
    if not np.isfinite(whole).all():
        raise CheckpointError(
            f"tensor {name} is not finite once it is made of {', '.join(source.names)}; "
            "train again, or take an earlier checkpoint"
        )
    yield whole.tobytes()


def _copied(file: BinaryIO, begin: int, length: int) -> Iterator[bytes]:
    file.seek(begin)
    while length:
        chunk = file.read(min(CHUNK_BYTES, length))
        if not chunk:
            raise CheckpointError("the weights end early; copy or download the file again")
        length -= len(chunk)
        yield chunk


def _read(file: BinaryIO, start: int, entry: Entry) -> Floats:
    content = b"".join(_copied(file, start + entry.begin, entry.end - entry.begin))
    if entry.dtype == "BF16":  # the upper half of a float32
        halves = np.frombuffer(content, "<u2").astype(np.uint32) << 16
        return halves.view(np.float32).reshape(entry.shape)
    values: Floats = np.frombuffer(content, NUMPY[entry.dtype]).astype(np.float32)
    return values.reshape(entry.shape)


def _whole(source: Source, parts: list[Floats]) -> Floats:
    """The product of the parts: see `folding` for the formulas."""
    if source.kind == "copy":
        return parts[0]
    whole: Floats
    if source.kind == "weight_norm":
        direction, length = parts
        axes = tuple(
            axis for axis in range(direction.ndim) if not length.ndim or length.shape[axis] == 1
        )
        squares = np.square(direction).sum(axis=axes, keepdims=True, dtype=np.float64)
        whole = direction * (length.reshape(squares.shape) / np.sqrt(squares)).astype(np.float32)
    else:
        weight, u, v = parts
        rows = np.moveaxis(weight, source.axis, 0).reshape(len(u), -1)
        whole = weight / np.dot(np.dot(u, rows), v)
    return whole
