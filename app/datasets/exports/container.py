"""An export as one file to download: a stored zip of its parts, with the checksum of each.

<parts>           as the format has them
dataset.json      what the dataset is and where it comes from
SHA256SUMS        of every other file; `sha256sum -c SHA256SUMS` checks them
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import deflate

from app.datasets.members import CHECKSUMS, DESCRIPTION
from app.datasets.zip_writer import ZipWriter
from app.storage import LargeWriter

if TYPE_CHECKING:
    from typing_extensions import Buffer

LARGE_BYTES = 0xFFFFFFFF
"""From here on the header of a part is longer."""

UNKNOWN_BYTES = 1 << 62


class Digest(Protocol):
    """A SHA-256 that is known in the end."""

    def hexdigest(self) -> str:
        """Hexadecimal."""


class Spool(io.RawIOBase):
    """A part while it is written, with its size and checksum.

    Closing it changes nothing: writers of Parquet close what they write to.
    """

    def __init__(self, append: Callable[[memoryview], object]) -> None:
        super().__init__()
        self._append = append
        self.bytes = 0
        self.crc = 0

    def writable(self) -> bool:
        """It is only written."""
        return True

    def write(self, chunk: Buffer) -> int:
        """Append; returns the number of bytes."""
        content = memoryview(chunk).cast("B")
        self._append(content)
        self.crc = deflate.crc32(content, self.crc)
        self.bytes += len(content)
        return len(content)


class Container:
    """Parts go in one after the other; `close` adds what stands behind them."""

    def __init__(self, sink: LargeWriter) -> None:
        self._sink = sink
        self._zip = ZipWriter(sink)
        self._sums: list[tuple[Digest, str]] = []

    @property
    def entries(self) -> int:
        """Files in it."""
        return self._zip.entries

    @contextmanager
    def part(self, name: str, most_bytes: int, least_bytes: int = 0) -> Iterator[Spool]:
        """A file that is written piece by piece; it goes in when the block ends well.

        It has no more than `most_bytes`. What is known to have less than 4 GiB, or more, is
        written where it stays; else how long its header is, is known in the end.
        """
        if least_bytes < LARGE_BYTES <= most_bytes:
            with self._spooled(name) as spool:
                yield spool
            return
        place = self._zip.reserve(name, large=least_bytes >= LARGE_BYTES)
        digest = self._sink.hold(place)
        spool = Spool(self._zip.append)
        yield spool
        if (spool.bytes >= LARGE_BYTES) != (least_bytes >= LARGE_BYTES):
            raise ValueError(f"{name} has {spool.bytes} bytes, at most {most_bytes} were expected")
        self._sink.settle(place, self._zip.header(name, place, spool.crc, spool.bytes))
        digest.follow(self._sink.bytes)
        self._sums.append((digest, name))

    @contextmanager
    def _spooled(self, name: str) -> Iterator[Spool]:
        digest = hashlib.sha256()
        with tempfile.TemporaryFile() as file:

            def append(content: memoryview) -> None:
                file.write(content)
                digest.update(content)

            spool = Spool(append)
            yield spool
            self._zip.add_spooled(name, cast("BinaryIO", file), spool.crc, spool.bytes)
        self._sums.append((digest, name))

    def add(self, name: str, content: bytes) -> None:
        """A small file."""
        self._zip.add(name, content)
        self._sums.append((hashlib.sha256(content), name))

    def close(self, document: bytes) -> None:
        """Add `dataset.json` and the checksums, and end the file."""
        self.add(DESCRIPTION, document)
        lines = [f"{digest.hexdigest()}  {name}\n" for digest, name in self._sums]
        self._zip.add(CHECKSUMS, "".join(lines).encode())
        self._zip.close()

    def discard(self) -> None:
        """Give up: release what is spooled."""
        self._zip.discard()
