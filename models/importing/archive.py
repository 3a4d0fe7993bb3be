"""The zip archive around a checkpoint: where each member's bytes lie, and what the names tell.

Members are read where they lie and never unpacked, so their names are only compared. torch.save
stores members as they are; a compressed one is refused before anything is expanded.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final, NamedTuple

from models.importing.errors import Kind, UnsupportedCheckpointError, shown

MEMBERS: Final = 50_000
DIRECTORY_BYTES: Final = 16 << 20
CHUNK_BYTES: Final = 4 << 20
END, END64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
LOCAL = struct.Struct("<4s5H3L2H")
ENCRYPTED: Final = 0x1
UNREADABLE: Final = (
    zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, OSError,
)  # fmt: skip
"""What zipfile raises for a directory that lies; OSError where it seeks before the file."""
EXPORT_MARKS: Final = ("archive_format", "serialized_exported_program.json", "archive_version")
PACKAGE_MARKS: Final = (".data/python_version", ".data/extern_modules")
CHECKPOINTS: Final = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".pkl")


class Member(NamedTuple):
    """A member's bytes are [offset, offset + size) of the file."""

    offset: int
    size: int
    crc: int


def read_members(stream: BinaryIO, size: int) -> dict[str, Member]:
    """Name → member of a zip archive of `size` bytes that torch.save may have written."""
    _check_directory(stream, size)
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
        names = [entry.filename for entry in entries]
        refuse_other_archives(names)
        if len(set(names)) != len(names):
            raise _damaged("two members of the archive have the same name")
        if any(entry.compress_type or entry.flag_bits & ENCRYPTED for entry in entries):
            raise UnsupportedCheckpointError(Kind.COMPRESSED_MEMBERS)
        return {entry.filename: _member(stream, entry, size) for entry in entries}
    except UNREADABLE as error:
        raise _damaged("its list of members is cut off or contradicts itself") from error


def _check_directory(stream: BinaryIO, size: int) -> None:
    """Refuse a directory too long to be listed (PKWARE APPNOTE 4.3.16, 4.3.14)."""
    tail_at = max(0, size - END.size - 0xFFFF)
    stream.seek(tail_at)
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + END.size:
        raise _damaged("its end is missing: a download that stopped, or a copy that is cut off")
    fields = END.unpack_from(tail, at)
    count, length = fields[4], fields[5]
    if count == 0xFFFF or length == 0xFFFFFFFF:
        at64 = tail.rfind(b"PK\x06\x06", 0, at)
        if at64 < 0 or len(tail) < at64 + END64.size:
            raise _damaged("its zip64 record is missing")
        count, length = END64.unpack_from(tail, at64)[7:9]
    if not count:
        raise UnsupportedCheckpointError(Kind.ZIP, "it has no members")
    if count > MEMBERS or length > DIRECTORY_BYTES:
        raise UnsupportedCheckpointError(Kind.TOO_COMPLEX, f"more than {MEMBERS} members")


def _member(stream: BinaryIO, entry: zipfile.ZipInfo, size: int) -> Member:
    """Where the bytes begin, of the header before them, which must agree with the directory."""
    stream.seek(entry.header_offset)
    header = LOCAL.unpack(stream.read(LOCAL.size))
    name_length, extra_length = header[9], header[10]
    name = stream.read(name_length)
    offset = entry.header_offset + LOCAL.size + name_length + extra_length
    same_name = name == entry.orig_filename.encode("utf-8") or name == _cp437(entry.orig_filename)
    agree = header[0] == b"PK\x03\x04" and header[3] == 0 and same_name
    if not agree or entry.file_size != entry.compress_size or offset + entry.file_size > size:
        raise _damaged(f"member {shown(entry.filename)} is not where the directory says")
    return Member(offset, entry.file_size, entry.CRC)


def _cp437(name: str) -> bytes:
    return name.encode("cp437", errors="replace")


def refuse_other_archives(names: list[str]) -> None:
    """Zip archives that are programs, or other people's formats, by the names in them."""
    kind = _kind_of(names)
    if kind is not None:
        raise UnsupportedCheckpointError(kind)
    inside = [name for name in names if name.lower().endswith(CHECKPOINTS)]
    if not any(name.endswith("data.pkl") for name in names):
        detail = f"it holds {shown(inside[0])}" if inside else ""
        raise UnsupportedCheckpointError(Kind.ZIP, detail)


def _kind_of(names: list[str]) -> Kind | None:
    leaves = {name.rpartition("/")[2] for name in names}
    if any(mark in name for name in names for mark in PACKAGE_MARKS):
        return Kind.PACKAGE
    if any("/code/" in f"/{name}" for name in names) or "constants.pkl" in leaves:
        return Kind.TORCHSCRIPT
    if leaves & set(EXPORT_MARKS):
        return Kind.EXPORTED
    if "model.weights.h5" in leaves or {"config.json", "metadata.json"} <= leaves:
        return Kind.KERAS
    if all(name.endswith(".npy") for name in names):
        return Kind.NPZ
    return None


def content_of(stream: BinaryIO, member: Member, limit: int) -> bytes:
    """A small member's bytes, if its checksum is right."""
    if member.size > limit:
        raise UnsupportedCheckpointError(Kind.TOO_COMPLEX, f"a pickle of {member.size} bytes")
    content = b"".join(chunks(stream, member.offset, member.size))
    if zlib.crc32(content) != member.crc:
        raise _damaged("its pickle does not match its checksum")
    return content


def check_crc(stream: BinaryIO, name: str, member: Member) -> None:
    """A member's bytes are those that were stored."""
    crc = 0
    for chunk in chunks(stream, member.offset, member.size):
        crc = zlib.crc32(chunk, crc)
    if crc != member.crc:
        raise _damaged(f"member {shown(name)} does not match its checksum")


def chunks(stream: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    """[offset, offset + size) of the file in pieces of at most 4 MiB."""
    stream.seek(offset)
    while size > 0:
        chunk = stream.read(min(size, CHUNK_BYTES))
        if not chunk:
            raise _damaged("it ends before its tensors do")
        size -= len(chunk)
        yield chunk


def find_root(members: Mapping[str, Member]) -> str:
    """The folder in the archive that holds data.pkl, with its slash."""
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    roots += [""] if "data.pkl" in members else []
    if len(roots) != 1:
        raise _damaged(f"it holds {len(roots)} pickles named data.pkl where torch.save writes one")
    return roots[0]


def _damaged(detail: str) -> UnsupportedCheckpointError:
    return UnsupportedCheckpointError(Kind.DAMAGED, detail)
