"""Reads zip archives that may be hostile, in memory that does not grow with their entries.

`zipfile` keeps an object for every entry and forgives much: bytes before the archive, names cut
at NUL, entries that overlap. Here the central directory is read as a stream (PKWARE APPNOTE
6.3.10, 4.3 and 4.5.3), and an entry is read only if its own header agrees with it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from models.corpus.zip_directory import RECORD_BYTES, names_at, record_starts
from models.corpus.zip_end import NOT_A_ZIP, BadZipError, locate

STORED, DEFLATED = 0, 8
ENCRYPTED = 0x1

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_UTF8 = 0x800
_ZIP64_EXTRA = 0x0001
_UNIX = 3
_MASK_32 = 0xFFFFFFFF
_CHUNK_BYTES = 1 << 16
_PAGE_BYTES = 1 << 20

DAMAGED = "is damaged (its zip entry does not fit its checksum)"


class _CutError(BadZipError):
    """An entry of the directory is not there as a whole."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the central directory says of an entry."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    bytes: int
    offset: int
    mode: int

    @property
    def name(self) -> str:
        """As text; bytes that are no UTF-8 become surrogates, which no safe path holds."""
        if self.flags & _UTF8:
            return self.raw_name.decode("utf-8", "surrogateescape")
        return self.raw_name.decode("cp437")


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the central directory, uint8 [bytes]; starts: int64 [n], where its records begin;
    end: behind the last of them."""

    content: NDArray[np.uint8]
    starts: NDArray[np.int64]
    end: int

    def names(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """uint8 [n, w]: raw names with zeros behind them; int64 [n]: their bytes."""
        return names_at(self.content, self.starts)

    def entry(self, place: int) -> Entry:
        """One of its entries."""
        return _read_entry(io.BytesIO(self.content[self.starts[place] : self.end].data))


class ZipReader:
    """An archive; entries are read one at a time. Closed with `with`."""

    def __init__(self, source: Path | BinaryIO) -> None:
        """Open a file, or take one that is open, which is then read by nobody else."""
        self._file = source.open("rb") if isinstance(source, Path) else source
        try:
            self.size = self._file.seek(0, 2)
            self._count, self._start, self._stop = locate(self._file, self.size)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Entry]:
        """The entries in the order of the directory."""
        span = _Span(self._file, self._start, self._stop)
        with io.BufferedReader(span, _CHUNK_BYTES) as directory:
            for _ in range(self._count):
                yield _read_entry(directory)
            if directory.read(1):
                raise BadZipError(NOT_A_ZIP)

    def pages(self) -> Iterator[Page]:
        """The same entries, many at a time: for who looks at names only."""
        span = _Span(self._file, self._start, self._stop)
        rest, count = b"", 0
        with io.BufferedReader(span, _CHUNK_BYTES) as directory:
            while piece := directory.read(_PAGE_BYTES):
                rest += piece
                page = _page(np.frombuffer(rest, np.uint8))
                yield page
                rest, count = rest[page.end :], count + len(page.starts)
        if rest or count != self._count:
            raise BadZipError(NOT_A_ZIP)

    @property
    def content_stop(self) -> int:
        """Where the content of the entries ends and the directory begins."""
        return self._start

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """The content in pieces, never more than declared. Trust it when the last piece has come
        without `BadZipError`: only then is the checksum known."""
        self._file.seek(self._content_start(entry))
        pieces = _inflated if entry.method == DEFLATED else _stored
        crc, left = 0, entry.bytes
        for piece in pieces(self._file, entry):
            crc, left = zlib.crc32(piece, crc), left - len(piece)
            if left < 0:
                break
            yield piece
        if left != 0 or crc != entry.crc:
            raise BadZipError(DAMAGED)

    def _content_start(self, entry: Entry) -> int:
        self._file.seek(entry.offset)
        head = self._file.read(_LOCAL.size)
        if len(head) < _LOCAL.size:
            raise BadZipError(DAMAGED)
        fields = _LOCAL.unpack(head)
        signature, method, name_bytes, extra_bytes = fields[0], fields[3], fields[9], fields[10]
        name = self._file.read(name_bytes)
        start = entry.offset + _LOCAL.size + name_bytes + extra_bytes
        agreed = signature == b"PK\x03\x04" and name == entry.raw_name and method == entry.method
        if not agreed or start + entry.compressed > self._start:
            raise BadZipError("is not the file that the directory of the zip names")
        return int(start)


class _Span(io.RawIOBase):
    """[start, stop) of a file, with a position of its own."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file, self._at, self._stop = file, start, stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        piece = self._file.read(min(len(buffer), self._stop - self._at))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _page(content: NDArray[np.uint8]) -> Page:
    found = record_starts(content)
    if found is not None:
        return Page(content, *found)
    starts, stream = [0], io.BytesIO(content.data)
    while starts[-1] + RECORD_BYTES <= len(content):
        try:
            _read_entry(stream)
        except _CutError:
            break
        starts.append(stream.tell())
    return Page(content, np.array(starts[:-1], np.int64), starts[-1])


def _read_entry(directory: BinaryIO) -> Entry:
    head = directory.read(_CENTRAL.size)
    if len(head) < _CENTRAL.size or head[:4] != b"PK\x01\x02":
        raise BadZipError(NOT_A_ZIP)
    (_, made_by, _, flags, method, _, _, crc, compressed, size, name_bytes, extra_bytes,
     comment_bytes, _, _, attributes, offset) = _CENTRAL.unpack(head)  # fmt: skip
    rest = directory.read(name_bytes + extra_bytes + comment_bytes)
    if len(rest) < name_bytes + extra_bytes + comment_bytes:
        raise _CutError(NOT_A_ZIP)
    if _MASK_32 in (size, compressed, offset):
        extra = rest[name_bytes : name_bytes + extra_bytes]
        size, compressed, offset = _widened(extra, [size, compressed, offset])
    mode = attributes >> 16 if made_by >> 8 == _UNIX else 0
    return Entry(rest[:name_bytes], flags, method, crc, compressed, size, offset, mode)


def _widened(extra: bytes, narrow: list[int]) -> list[int]:
    """Size, compressed size and offset, where those that don't fit stand in the zip64 field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        missing = narrow.count(_MASK_32)
        if kind == _ZIP64_EXTRA and len(field) >= 8 * missing:
            wide = iter(struct.unpack_from(f"<{missing}Q", field))
            return [next(wide) if value == _MASK_32 else value for value in narrow]
    raise BadZipError(NOT_A_ZIP)


def _stored(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    left = entry.compressed
    while left and (piece := file.read(min(_CHUNK_BYTES, left))):
        left -= len(piece)
        yield piece


def _inflated(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    inflate, left = zlib.decompressobj(-zlib.MAX_WBITS), entry.compressed
    while not inflate.eof:
        packed = inflate.unconsumed_tail
        if not packed:
            packed = file.read(min(_CHUNK_BYTES, left))
            left -= len(packed)
        try:
            piece = inflate.decompress(packed, _CHUNK_BYTES)
        except zlib.error as error:
            raise BadZipError(DAMAGED) from error
        if not packed and not piece:
            return
        yield piece
