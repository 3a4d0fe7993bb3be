"""Every file of the service goes through here: written whole or not at all, read by range."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.errors import MissingObjectError, StorageFullError, SynthloomError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BUFFER_BYTES = 1 << 20
_STEP_BYTES = 8 << 20
_SYNC_BYTES = 64 << 20
PART = ".part"
"""Ending of a file that is being written."""


class HashingWriter:
    """A file that is being stored; it knows its length and SHA-256 as it grows."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, chunk: bytes | bytearray | memoryview) -> int:
        """Append; returns the number of bytes."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.bytes += len(chunk)
        return len(chunk)

    @property
    def sha256(self) -> str:
        """Hex digest of what was written so far."""
        return self._digest.hexdigest()


class TrailingDigest:
    """SHA-256 of a file that still grows, from one position on, computed behind its end.

    The content is read again, out of the page cache: what was corrected meanwhile counts.
    """

    def __init__(self, descriptor: int, start: int, thread: Executor) -> None:
        self._descriptor = descriptor
        self._at = start
        self._thread = thread
        self._last: Future[None] | None = None
        self._digest = hashlib.sha256()

    def follow(self, end: int) -> None:
        """What stands before `end` will not change any more: take it in, some time soon."""
        self._last = self._thread.submit(self._read, end)

    def hexdigest(self) -> str:
        """Of what may be taken in; waits for it. Raises OSError when it can't be read."""
        if self._last is not None:
            self._last.result()
        return self._digest.hexdigest()

    def _read(self, end: int) -> None:
        while self._at < end:
            chunk = os.pread(self._descriptor, min(_BUFFER_BYTES, end - self._at), self._at)
            if not chunk:
                raise OSError(errno.EIO, "a file is shorter than what was written to it")
            self._digest.update(chunk)
            self._at += len(chunk)


class LargeWriter(HashingWriter):
    """The same for a file of many gigabytes, some of which may be corrected once.

    Threads that stay behind its end compute the hash and push what is written to the disk, so
    that neither waits for the other, nor the end of the file for either.
    """

    def __init__(self, file: BinaryIO, stack: ExitStack) -> None:
        super().__init__(file)
        self._descriptor = file.fileno()
        self._threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(3)]
        # Entered last, so done first: what nobody waits for any more is not begun.
        stack.callback(self._withdraw)
        self._whole = TrailingDigest(self._descriptor, 0, self._threads[0])
        self._synced: Future[None] | None = None
        self._told = self._syncing = 0
        self._held = False

    def write(self, chunk: bytes | bytearray | memoryview) -> int:
        """Append; returns the number of bytes."""
        self._file.write(chunk)
        self.bytes += len(chunk)
        if self.bytes - self._told >= _STEP_BYTES:
            self._tell()
        return len(chunk)

    def hold(self, position: int) -> TrailingDigest:
        """What stands from `position` on may still be corrected.

        Returns a digest of what is written from now on.
        """
        self._whole.follow(position)
        self._held = True
        return TrailingDigest(self._descriptor, self.bytes, self._threads[1])

    def settle(self, position: int, correction: bytes) -> None:
        """Write over what stands at `position`; then nothing will be corrected any more."""
        self._file.flush()
        os.pwrite(self._descriptor, correction, position)
        self._held = False

    @property
    def sha256(self) -> str:
        """Hex digest of what was written."""
        return self._whole.hexdigest()

    def finish(self) -> None:
        """Take in what is left, before the file is closed. Raises OSError."""
        self._tell()
        self._whole.hexdigest()
        if self._synced is not None:
            self._synced.result()

    def _tell(self) -> None:
        self._told = self.bytes
        self._file.flush()
        if not self._held:
            self._whole.follow(self.bytes)
        if self._synced is not None and self._synced.done():
            # The kernel tells of an error once for each open file: it may not be missed.
            self._synced.result()
            self._synced = None
        if self._synced is None and self.bytes - self._syncing >= _SYNC_BYTES:
            self._syncing = self.bytes
            self._synced = self._threads[2].submit(os.fdatasync, self._descriptor)

    def _withdraw(self) -> None:
        for thread in self._threads:
            thread.shutdown(wait=False, cancel_futures=True)


class LocalStorage:
    """Objects as files below one folder. Keys are made by us: names of users never become paths."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def create(self, key: str) -> Iterator[HashingWriter]:
        """Store an object: temporary file, fsync, rename, fsync of the folder.

        Whatever goes wrong leaves no object, and a full disk is a StorageFullError.
        """
        with self._stored(key) as file:
            yield HashingWriter(file)

    @contextmanager
    def create_large(self, key: str) -> Iterator[LargeWriter]:
        """The same for an object of many gigabytes."""
        with self._stored(key) as file, ExitStack() as stack:
            writer = LargeWriter(file, stack)
            yield writer
            writer.finish()

    @contextmanager
    def _stored(self, key: str) -> Iterator[BinaryIO]:
        path = self.path(key)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
        try:
            with _open_new(part) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
        except BaseException as error:
            with suppress(OSError):  # not there, or its folder is not: the first error counts
                self._remove(part)
            if isinstance(error, OSError):
                raise storage_error(error) from error
            raise

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Read an object. Raises MissingObjectError when there is none."""
        try:
            file = self.path(key).open("rb")
        except FileNotFoundError as error:
            raise MissingObjectError(
                "A stored file is gone. Restore the storage from a backup, or run the job again."
            ) from error
        with file:
            yield file

    def read(self, key: str, offset: int = 0, length: int = -1) -> bytes:
        """A range of an object, to its end by default."""
        with self.open(key) as file:
            file.seek(offset)
            return file.read(length)

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below a folder-like prefix, unfinished files included."""
        base = self.path(prefix)
        for folder, _, names in os.walk(base):
            for name in names:
                yield (Path(folder) / name).relative_to(self._root).as_posix()

    def age_seconds(self, key: str) -> float:
        """How long ago an object was written, by the clock of this machine; 0 if it is gone."""
        try:
            return time.time() - self.path(key).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def delete(self, key: str) -> None:
        """Remove an object, and the folders that it leaves empty. Nothing there is fine."""
        self._remove(self.path(key))

    def delete_all(self, keys: Iterable[str]) -> None:
        """The same for several."""
        for key in keys:
            self.delete(key)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self._root:
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def prune(self, prefix: str) -> None:
        """Remove empty folders below a folder-like prefix, and itself if it is empty."""
        for folder, _, _ in os.walk(self.path(prefix), topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()

    def free_bytes(self) -> int:
        """Room left for objects."""
        self._root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._root).free

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self._root / key


def _open_new(path: Path) -> BinaryIO:
    """A new file in a folder that somebody else may be removing because it was empty."""
    for _ in range(3):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return path.open("x+b", buffering=_BUFFER_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("x+b", buffering=_BUFFER_BYTES)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(error: OSError) -> SynthloomError:
    """What the service says where a file can't be written."""
    if error.errno in _FULL:
        return StorageFullError(
            "The disk is full. Free some space or delete old jobs, then submit the job again."
        )
    return SynthloomError(
        f"A file could not be written ({errno.errorcode.get(error.errno or 0, 'I/O error')}). "
        "Check the storage of this machine, then submit the job again."
    )
