"""What a file is by its first bytes. Names are not believed; nothing is executed or unpacked."""

from __future__ import annotations

from enum import StrEnum
from typing import BinaryIO, Final

from models.importing.errors import Kind, UnsupportedCheckpointError

HEAD_BYTES: Final = 4096


class Format(StrEnum):
    """Formats that are looked into further, in the sandbox."""

    ZIP = "zip"
    PICKLE = "pickle"
    SAFETENSORS = "safetensors"
    ONNX = "onnx"


MAGIC: Final[tuple[tuple[bytes, Kind], ...]] = (
    (b"version https://git-lfs", Kind.LFS_POINTER),
    (b"\x89HDF\r\n\x1a\n", Kind.HDF5),
    (b"\x1f\x8b", Kind.COMPRESSED),
    (b"\xfd7zXZ\x00", Kind.COMPRESSED),
    (b"7z\xbc\xaf\x27\x1c", Kind.COMPRESSED),
    (b"Rar!\x1a\x07", Kind.COMPRESSED),
    (b"BZh", Kind.COMPRESSED),
    (b"\x28\xb5\x2f\xfd", Kind.COMPRESSED),
    (b"\x89PNG\r\n\x1a\n", Kind.PICTURE),
    (b"\xff\xd8\xff", Kind.PICTURE),
    (b"GIF8", Kind.PICTURE),
    (b"GGUF", Kind.GGUF),
    (b"PK\x05\x06", Kind.ZIP),
)
PICKLE_STARTS: Final = b"\x80(}]cLFIVlds"
"""PROTO, or what else a pickle of the protocols 0 and 1 begins with."""


def identify(stream: BinaryIO, size: int) -> Format:
    """The format of `stream`, which has `size` bytes; UnsupportedCheckpointError if none of ours.

    Reads at most 4 KiB and the headers of a protobuf's outermost fields.
    """
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if not head:
        raise UnsupportedCheckpointError(Kind.EMPTY)
    if head.startswith(b"PK\x03\x04"):
        return Format.ZIP
    if _is_safetensors(head, size):
        return Format.SAFETENSORS
    for magic, kind in MAGIC:
        if head.startswith(magic):
            raise UnsupportedCheckpointError(kind)
    if head[4:8] == b"TFL3":
        raise UnsupportedCheckpointError(Kind.TFLITE)
    if head[257:262] == b"ustar":
        raise UnsupportedCheckpointError(Kind.TAR)
    if head[:1] == b"\x08":
        return _protobuf(stream, size)
    if head[0] == 0x80:
        return Format.PICKLE
    stream.seek(size - 1)
    return _text_or_old_pickle(head, stream.read(1))


def _is_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes of length, then an object of JSON; a length beyond the file is still one."""
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{":
        return head[9:10] in b'"} \n' or length <= size
    return len(head) >= 8 and 0 < length == size - 8 and head[8:9].isspace()


def _text_or_old_pickle(head: bytes, last: bytes) -> Format:
    """A pickle of protocol 0 is text too; it ends with a full stop and begins with an opcode."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--", b"<error")):
        raise UnsupportedCheckpointError(Kind.HTML)
    if _is_json(start):
        raise UnsupportedCheckpointError(Kind.JSON)
    if head[0] in PICKLE_STARTS and (last == b"." or not _is_text(head)):
        return Format.PICKLE
    if _is_text(head):
        raise UnsupportedCheckpointError(Kind.TEXT)
    raise UnsupportedCheckpointError(Kind.UNRECOGNISED)


def _is_json(start: bytes) -> bool:
    rest = start[1:].lstrip()[:1]
    if start[:1] == b"{":
        return rest in (b'"', b"}")
    return start[:1] == b"[" and rest != b"" and rest in b'[{"0123456789-tfn]'


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-3].decode() if len(head) == HEAD_BYTES else head.decode()
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\r\n\t\f" for c in text)


# A protobuf that begins with field 1 as a number: ONNX, or TensorFlow's SavedModel.

FIELDS_LIMIT: Final = 4096
ONNX_GRAPH, ONNX_LAST_FIELD = 7, 26


def _protobuf(stream: BinaryIO, size: int) -> Format:
    """ONNX has a graph as field 7; a SavedModel has only the fields 1 and 2.

    https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (ModelProto)
    """
    fields: set[int] = set()
    position, cut = 0, False
    for _ in range(FIELDS_LIMIT):
        if position >= size:
            break
        stream.seek(position)
        step = _field(stream.read(20))
        if step is None:
            raise UnsupportedCheckpointError(Kind.UNRECOGNISED)
        number, length = step
        fields.add(number)
        position += length
    cut = position > size
    if fields <= {1, 2} and 2 in fields and not cut:
        raise UnsupportedCheckpointError(Kind.SAVED_MODEL)
    if max(fields) > ONNX_LAST_FIELD or (ONNX_GRAPH not in fields and not cut):
        raise UnsupportedCheckpointError(Kind.UNRECOGNISED)
    return Format.ONNX


def _field(head: bytes) -> tuple[int, int] | None:
    """Number of the field that starts here and bytes to the next one; None if it is none."""
    tag, used = _varint(head)
    number, wire = tag >> 3, tag & 7
    value, more = _varint(head[used:])
    if not used or not number:
        return None
    lengths = {0: used + more, 1: used + 8, 2: used + more + value, 5: used + 4}
    if wire not in lengths or (wire in (0, 2) and not more):
        return None
    return number, lengths[wire]


def _varint(head: bytes) -> tuple[int, int]:
    """Value and length in bytes; length 0 if it does not end here."""
    value = 0
    for place, byte in enumerate(head[:10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, place + 1
    return 0, 0
