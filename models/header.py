"""The header of a safetensors file, checked before any tensor is given memory. No torch.

Format: 8 bytes, the header's length N as little-endian uint64; N bytes of JSON, which name for
each tensor its dtype, shape and byte range; then the tensors, without gaps.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from math import prod
from typing import Any, Final, NamedTuple

from models.errors import CheckpointError

LENGTH_BYTES: Final = 8
HEADER_BYTES_LIMIT: Final = 4 << 20
TENSORS_LIMIT: Final = 20_000
ITEM_BYTES: Final = {
    **dict.fromkeys(("F64", "I64"), 8),
    **dict.fromkeys(("F32", "I32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL"), 1),
}


class Entry(NamedTuple):
    """What the header says of one tensor; its bytes are [begin, end) after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(content: bytes) -> dict[str, Entry]:
    """Name -> entry, of a whole file's bytes; refused unless the tensors tile the file exactly."""
    return parse_header(content, len(content))


def parse_header(head: bytes, size: int) -> dict[str, Entry]:
    """The same of the first bytes of a file of `size` bytes, as far as its header goes."""
    length = int.from_bytes(head[:LENGTH_BYTES], "little")
    if size < LENGTH_BYTES or length > min(HEADER_BYTES_LIMIT, size - LENGTH_BYTES):
        raise _damaged("its header is cut off or too long")
    try:
        document = json.loads(
            head[LENGTH_BYTES : LENGTH_BYTES + length], object_pairs_hook=_without_twins
        )
    except (ValueError, RecursionError) as error:
        raise _damaged("its header is no JSON") from error
    if not isinstance(document, dict):
        raise _damaged("its header is no JSON object")
    document.pop("__metadata__", None)
    if len(document) > TENSORS_LIMIT:
        raise _damaged(f"it names more than {TENSORS_LIMIT} tensors")
    entries = {name: _entry(name, fields) for name, fields in document.items()}
    _check_tiling(entries, size - LENGTH_BYTES - length)
    return entries


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers of JSON do not agree on which of two equal keys counts."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _damaged("its header names a tensor or a field twice")
    return document


def _entry(name: str, fields: Any) -> Entry:
    try:
        begin, end = fields["data_offsets"]
        entry = Entry(fields["dtype"], tuple(fields["shape"]), begin, end)
        numbers = (*entry.shape, begin, end)
        sound = all(type(number) is int and 0 <= number < 1 << 48 for number in numbers)
        item = ITEM_BYTES.get(entry.dtype, 0)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(f"the entry of tensor {name} is malformed") from error
    if not sound or not item or end - begin != item * prod(entry.shape):
        raise _damaged(f"dtype, shape and length of tensor {name} do not agree")
    return entry


def _check_tiling(entries: dict[str, Entry], size: int) -> None:
    """Every byte belongs to exactly one tensor."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise _damaged(f"tensor {name} overlaps another or leaves a gap")
        position = entry.end
    if position != size:
        raise _damaged(f"it holds {size} bytes of tensors where its header names {position}")


def _damaged(reason: str) -> CheckpointError:
    return CheckpointError(
        f"the weights are no valid safetensors file: {reason}; save or download them again"
    )
