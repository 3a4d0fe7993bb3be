"""Where a zip's central directory is, by the records at its end (PKWARE APPNOTE 4.3.14 to 16)."""

from __future__ import annotations

import struct
from typing import BinaryIO

from models.corpus.zip_directory import RECORD_BYTES

NOT_A_ZIP = "is not a zip that can be read"

_END = struct.Struct("<4s4H2IH")
_ZIP64_LOCATOR = struct.Struct("<4sIQI")
_ZIP64_END = struct.Struct("<4sQ2H2I4Q")
_LONGEST_COMMENT = 0xFFFF


class BadZipError(Exception):
    """The archive, or an entry of it, is not what it claims to be; the message says how."""


def locate(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Number of entries, and where the central directory starts and stops."""
    end, fields = _find_end(file, size)
    disk, directory_disk, count_here, count, length, start = fields[1:7]
    stop, disks = end, 1
    if end >= _ZIP64_LOCATOR.size:
        file.seek(end - _ZIP64_LOCATOR.size)
        signature, disk_64, position, disks = _ZIP64_LOCATOR.unpack(file.read(_ZIP64_LOCATOR.size))
        if signature == b"PK\x06\x07":
            stop, disk = position, disk_64
            wide = _find_zip64_end(file, position, end - _ZIP64_LOCATOR.size)
            directory_disk, count_here, count, length, start = wide
        else:
            disks = 1
    whole = (disk, directory_disk, disks) == (0, 0, 1) and count_here == count
    if not whole or start + length != stop or count * RECORD_BYTES > length:
        raise BadZipError(NOT_A_ZIP)
    return count, start, stop


def _find_end(file: BinaryIO, size: int) -> tuple[int, tuple[int, ...]]:
    """The end record, which must be the last thing in the file but for its comment."""
    first = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(first)
    tail = file.read(_END.size + _LONGEST_COMMENT)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        record = tail[at : at + _END.size]
        if len(record) == _END.size:
            fields = _END.unpack(record)
            if at + _END.size + fields[7] == len(tail):
                return first + at, fields
        at = tail.rfind(b"PK\x05\x06", 0, at)
    raise BadZipError(NOT_A_ZIP)


def _find_zip64_end(file: BinaryIO, position: int, stop: int) -> tuple[int, int, int, int, int]:
    """The wide end record: directory disk, entries here, entries, length, start."""
    if position + _ZIP64_END.size > stop:
        raise BadZipError(NOT_A_ZIP)
    file.seek(position)
    signature, length, _, _, _, disk, here, count, directory, start = _ZIP64_END.unpack(
        file.read(_ZIP64_END.size)
    )
    if signature != b"PK\x06\x06" or position + 12 + length != stop:
        raise BadZipError(NOT_A_ZIP)
    return disk, here, count, directory, start
