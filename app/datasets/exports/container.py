"""An export as one file to download: a stored zip of its parts, with the checksum of each.

<parts>           as the format has them
dataset.json      what the dataset is and where it comes from
SHA256SUMS        of every other file; `sha256sum -c SHA256SUMS` checks them
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from app.datasets.members import CHECKSUMS, DESCRIPTION
from app.datasets.zip_writer import Sink, ZipWriter

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Spool(io.RawIOBase):
    """A part while it is written: on the disk, with its size, checksum and SHA-256.

    Closing it leaves the file on the disk open.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file = file
        self.bytes = 0
        self.crc = 0
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        """It is only written."""
        return True

    def write(self, chunk: Buffer) -> int:
        """Append; returns the number of bytes."""
        self.file.write(chunk)
        self.crc = zlib.crc32(chunk, self.crc)
        self._digest.update(chunk)
        size = memoryview(chunk).nbytes
        self.bytes += size
        return size

    @property
    def sha256(self) -> str:
        """Hex digest of what was written so far."""
        return self._digest.hexdigest()


class Container:
    """Parts go in one after the other; `close` adds what stands behind them."""

    def __init__(self, sink: Sink) -> None:
        self._zip = ZipWriter(sink)
        self._sums: list[str] = []

    @property
    def entries(self) -> int:
        """Files in it."""
        return self._zip.entries

    @contextmanager
    def part(self, name: str) -> Iterator[Spool]:
        """A file that is written piece by piece; it goes in when the block ends well."""
        with tempfile.TemporaryFile() as file:
            spool = Spool(cast("BinaryIO", file))
            yield spool
            self._zip.add_spooled(name, spool.file, spool.crc, spool.bytes)
        self._sums.append(f"{spool.sha256}  {name}\n")

    def add(self, name: str, content: bytes) -> None:
        """A small file."""
        self._zip.add(name, content)
        self._sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")

    def close(self, document: bytes) -> None:
        """Add `dataset.json` and the checksums, and end the file."""
        self.add(DESCRIPTION, document)
        self._zip.add(CHECKSUMS, "".join(self._sums).encode())
        self._zip.close()

    def discard(self) -> None:
        """Give up: release what is spooled."""
        self._zip.discard()
