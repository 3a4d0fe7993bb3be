"""Every file of the service goes through here: written whole or not at all, read by range."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.errors import MissingObjectError, StorageFullError, SynthloomError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BUFFER_BYTES = 1 << 20
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


class LocalStorage:
    """Objects as files below one folder. Keys are made by us: names of users never become paths."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def create(self, key: str) -> Iterator[HashingWriter]:
        """Store an object: temporary file, fsync, rename, fsync of the folder.

        Whatever goes wrong leaves no object, and a full disk is a StorageFullError.
        """
        path = self.path(key)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
        try:
            with _open_new(part) as file:
                yield HashingWriter(file)
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
            return path.open("xb", buffering=_BUFFER_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb", buffering=_BUFFER_BYTES)


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
