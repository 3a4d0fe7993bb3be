"""Stored zip archives, written front to back in flat memory (PKWARE APPNOTE 6.3.10).

`zipfile` keeps an object for every member until the end, which grows with N; here the central
directory is spooled. Fixed times and modes: equal members, equal bytes. Images are compressed
already, so members are stored, and a shard's members are copied into an archive as they lie.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, Protocol

import deflate
import numpy as np
from numpy.typing import NDArray

from models.corpus.zip_directory import RECORD_BYTES, record_starts

_FIELDS = struct.Struct("<HHHHIIIH")
"""What both headers of a member share, from the flags to the length of its name."""
_LOCAL_BYTES = 30
_END = struct.Struct("<4sHHHHIIH")
_ZIP64_END = struct.Struct("<4sQHHIIQQQQ")
_ZIP64_LOCATOR = struct.Struct("<4sIQI")
_LOCAL_SIGNATURE, _CENTRAL_SIGNATURE = b"PK\x03\x04", b"PK\x01\x02"
_DOS_EPOCH = 0x21  # 1980-01-01, the earliest date the format knows
_UTF8 = 0x0800
_MADE_BY = (3 << 8) | 45  # Unix, version 4.5
_MODE = 0o100644 << 16
_LOCAL_HEAD = struct.pack("<4sH", _LOCAL_SIGNATURE, 20)
_LOCAL_TAIL = struct.pack("<H", 0)
_CENTRAL_HEAD = struct.pack("<4sHH", _CENTRAL_SIGNATURE, _MADE_BY, 20)
_CENTRAL_TAIL = struct.pack("<HHHHII", 0, 0, 0, 0, _MODE, 0)
_SAME_FIELDS = struct.pack("<HHHH", _UTF8, 0, 0, _DOS_EPOCH)
_VARYING = [("fields", "V8"), ("crc", "<u4"), ("stored", "<u4"), ("size", "<u4"), ("name", "<u2")]
_LOCAL = np.dtype([("head", "V6"), *_VARYING, ("tail", "<u2")])
_CENTRAL = np.dtype([("head", "V8"), *_VARYING, ("tail", "V12"), ("position", "<u4")])
_MASK16, _MASK32 = 0xFFFF, 0xFFFFFFFF
_CHUNK = 1 << 20
_SPOOL_BYTES = 4 << 20


class Sink(Protocol):
    """Where the archive goes: append only."""

    def write(self, chunk: bytes | memoryview, /) -> int:
        """Append bytes."""


class ZipWriter:
    """Writes one archive to a sink. Call `close` at the end; without it there is no archive."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._position = 0
        self.entries = 0
        # Not a context manager here: it lives as long as the writer and is closed with it.
        self._directory = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115

    def add(self, name: str, payload: bytes) -> int:
        """Append a member; returns the position of its first payload byte."""
        self._begin(name, deflate.crc32(payload), len(payload))
        start = self._position
        self._write(payload)
        return start

    def add_all(self, names: list[str], payloads: list[bytes]) -> NDArray[np.int64]:
        """Append members; returns int64 [n]: the position of the first payload byte of each.

        The same archive as by `add`, in one write, and the headers of all made at once.
        """
        encoded = [name.encode() for name in names]
        lengths = np.fromiter(map(len, encoded), np.int64, len(names))
        sizes = np.fromiter(map(len, payloads), np.int64, len(names))
        ends = self._position + np.cumsum(_LOCAL_BYTES + lengths + sizes)
        if len(names) and ends[-1] >= _MASK32:
            each = map(self.add, names, payloads)
            return np.fromiter(each, np.int64, len(names))
        starts = ends - sizes
        crcs = np.fromiter(map(deflate.crc32, payloads), np.uint32, len(names))
        local, central = _all_headers(crcs, sizes, lengths, starts - lengths - _LOCAL_BYTES)
        self._write(b"".join(chain.from_iterable(zip(local, encoded, payloads, strict=True))))
        self._directory.write(b"".join(chain.from_iterable(zip(central, encoded, strict=True))))
        self.entries += len(names)
        return starts

    def add_file(self, name: str, file: BinaryIO) -> None:
        """Append a member from a seekable file, read twice: its checksum stands before it."""
        crc, size = 0, 0
        for chunk in _chunks(file):
            crc, size = deflate.crc32(chunk, crc), size + len(chunk)
        self.add_spooled(name, file, crc, size)

    def add_spooled(self, name: str, file: BinaryIO, crc: int, size: int) -> None:
        """The same of a file whose checksum and length are known: it is read once."""
        local, record = _any_headers(name, crc, size, self._position)
        self._write(local)
        for chunk in _chunks(file):
            self._write(chunk)
        self._list(record)

    def reserve(self, name: str, large: bool) -> int:
        """Room for the header of a member whose payload follows by `append`; its position.

        large: the payload will have 4 GiB or more. What `header` returns belongs into this place.
        """
        position = self._position
        self._write(_any_headers(name, 0, _MASK32 if large else 0, position)[0])
        return position

    def append(self, chunk: bytes | memoryview) -> None:
        """More of the payload of the member that a place was reserved for."""
        self._write(chunk)

    def header(self, name: str, position: int, crc: int, size: int) -> bytes:
        """The header that stands at `position`, now that the payload is there; lists the member."""
        local, record = _any_headers(name, crc, size, position)
        self._list(record)
        return local

    def add_archive(self, file: BinaryIO) -> int:
        """Append every member of an archive that this class wrote, bytes as they lie.

        Returns the number of members. Raises ValueError when the file is not such an archive.
        """
        file.seek(-_END.size, 2)
        signature, _, _, _, count, length, start, _ = _END.unpack(file.read(_END.size))
        if signature != b"PK\x05\x06" or count == _MASK16:
            raise ValueError("not an archive of this writer")
        base = self._position
        file.seek(0)
        left = start
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise ValueError("the archive is cut short")
            self._write(chunk)
            left -= len(chunk)
        self._directory.writelines(_shifted(file.read(length), base))
        self.entries += count
        return int(count)

    def close(self) -> None:
        """Write the central directory and the end records."""
        start = self._position
        self._directory.seek(0)
        while chunk := self._directory.read(_CHUNK):
            self._write(chunk)
        length = self._position - start
        if self.entries >= _MASK16 or start >= _MASK32 or length >= _MASK32:
            self._write_zip64_end(start, length)
        count = min(self.entries, _MASK16)
        self._write(
            _END.pack(
                b"PK\x05\x06", 0, 0, count, count, min(length, _MASK32), min(start, _MASK32), 0
            )
        )
        self._directory.close()

    def discard(self) -> None:
        """Give up: release the spooled directory."""
        self._directory.close()

    def _begin(self, name: str, crc: int, size: int) -> None:
        local, record = _headers(name, crc, size)
        self._list(_at(record, self._position))
        self._write(local)

    def _list(self, record: bytes) -> None:
        self._directory.write(record)
        self.entries += 1

    def _write(self, chunk: bytes | memoryview) -> None:
        self._sink.write(chunk)
        self._position += len(chunk)

    def _write_zip64_end(self, start: int, length: int) -> None:
        end = self._position
        self._write(
            _ZIP64_END.pack(
                b"PK\x06\x06", 44, _MADE_BY, 45, 0, 0, self.entries, self.entries, length, start
            )
        )
        self._write(_ZIP64_LOCATOR.pack(b"PK\x06\x07", 0, end, 1))


def _any_headers(name: str, crc: int, size: int, position: int) -> tuple[bytes, bytes]:
    """The local header and the central record of a member of any size, at `position`."""
    if size < _MASK32:
        local, record = _headers(name, crc, size)
        return local, _at(record, position)
    # Both lengths and the position are in extra fields.
    encoded = name.encode()
    fields = _FIELDS.pack(_UTF8, 0, 0, _DOS_EPOCH, crc, _MASK32, _MASK32, len(encoded))
    needs = struct.pack("<H", 45)
    extra = struct.pack("<HHQQQ", 1, 24, size, size, position)
    record = (
        _CENTRAL_HEAD[:6] + needs + fields + struct.pack("<H", len(extra))
        + _CENTRAL_TAIL[2:-4] + b"\xff\xff\xff\xff" + encoded + extra
    )  # fmt: skip
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    local = _LOCAL_SIGNATURE + needs + fields + struct.pack("<H", len(extra)) + encoded + extra
    return local, record


def _headers(name: str, crc: int, size: int) -> tuple[bytes, bytes]:
    """The local header of a member, and its central record for one at the very beginning."""
    if size >= _MASK32:
        raise ValueError("a single member of 4 GiB is not supported")
    encoded = name.encode()
    fields = _FIELDS.pack(_UTF8, 0, 0, _DOS_EPOCH, crc, size, size, len(encoded))
    return (
        _LOCAL_HEAD + fields + _LOCAL_TAIL + encoded,
        _CENTRAL_HEAD + fields + _CENTRAL_TAIL + encoded,
    )


def _all_headers(
    crcs: NDArray[np.uint32],
    sizes: NDArray[np.int64],
    lengths: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> tuple[list[bytes], list[bytes]]:
    """What `_headers` gives for many members at their positions, each without its name."""
    count = len(crcs)
    local = np.empty(count, _LOCAL)
    local["head"], local["fields"] = np.void(_LOCAL_HEAD), np.void(_SAME_FIELDS)
    local["crc"], local["stored"], local["size"] = crcs, sizes, sizes
    local["name"], local["tail"] = lengths, 0
    central = np.empty(count, _CENTRAL)
    central["head"], central["tail"] = np.void(_CENTRAL_HEAD), np.void(_CENTRAL_TAIL[:-4])
    for field in ("fields", "crc", "stored", "size", "name"):
        central[field] = local[field]
    central["position"] = positions
    return local.view(f"V{_LOCAL_BYTES}").tolist(), central.view(f"V{RECORD_BYTES}").tolist()


def _at(record: bytes, position: int) -> bytes:
    """A central record (without extra field) for a member whose header stands at `position`."""
    if position < _MASK32:
        return record[:42] + position.to_bytes(4, "little") + record[46:]
    extra = struct.pack("<HHQ", 1, 8, position)
    needs_45 = (45).to_bytes(2, "little")
    with_extra = record[:6] + needs_45 + record[8:30] + len(extra).to_bytes(2, "little")
    return with_extra + record[32:42] + b"\xff\xff\xff\xff" + record[46:] + extra


def _shifted(directory: bytes, base: int) -> Iterator[bytes]:
    """The records of a central directory, moved by `base`."""
    content = np.frombuffer(directory, np.uint8)
    found = record_starts(content)
    if found is None or found[1] != len(content):
        yield from _shifted_singly(directory, base)
        return
    starts, moved = found[0], content.copy()
    places = starts[:, None] + np.arange(42, 46)  # [n, 4]: bytes of the positions
    positions = moved[places].view("<u4")[:, 0].astype(np.int64) + base
    if len(positions) and positions.max() >= _MASK32:
        yield from _shifted_singly(directory, base)
        return
    moved[places] = positions.astype("<u4")[:, None].view(np.uint8)
    yield moved.tobytes()


def _shifted_singly(directory: bytes, base: int) -> Iterator[bytes]:
    at = 0
    while at < len(directory):
        if directory[at : at + 4] != _CENTRAL_SIGNATURE:
            raise ValueError("the central directory is damaged")
        end = at + RECORD_BYTES + int.from_bytes(directory[at + 28 : at + 30], "little")
        position = int.from_bytes(directory[at + 42 : at + 46], "little")
        yield _at(directory[at:end], base + position)
        at = end


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk
