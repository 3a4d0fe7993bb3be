"""The files of a dataset, in a folder or in a zip that may be hostile.

Nothing here writes. What can't be trusted is reported and never opened: names that leave the
folder, links, duplicates, entries that claim to unpack to far more than they are.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, Self

CHECKSUMS = "SHA256SUMS"
DESCRIPTION = "dataset.json"

CHUNK_BYTES = 1 << 18
EXPANSION_LIMIT = 50
EXPANSION_ALLOWANCE_BYTES = 64 << 20
NAME_BYTES_LIMIT = 255
PATH_BYTES_LIMIT = 4096


class DamagedError(Exception):
    """A dataset, or one file of it, is not what it should be; the message says which."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the dataset; `refusal` says why it is not safe to open."""

    path: str
    bytes: int
    refusal: str = ""


class Members(Protocol):
    """A folder or a zip, closed with `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Iterator[Member]: ...

    def chunks(self, path: str) -> Iterator[bytes]:
        """The content of a member in pieces; `DamagedError` when it can't be read."""
        ...


def members_of(path: Path) -> Members:
    """Opens a folder or a zip; `DamagedError` when it is neither."""
    return FolderMembers(path) if path.is_dir() else ZipMembers(path)


def refusal_of(path: str) -> str:
    """Why a name must not be used inside a folder, or nothing."""
    if len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES_LIMIT:
        return "has a name that is too long"
    if not path.isprintable() or "\\" in path or ":" in path:
        return "has characters in its name that are not safe on every system"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "would leave the folder it is unpacked to"
    if any(len(part.encode("utf-8")) > NAME_BYTES_LIMIT for part in parts):
        return "has a name that is too long"
    return ""


class FolderMembers:
    """An unpacked dataset. Links are reported, not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Member]:
        pending = [""]
        while pending:
            prefix = pending.pop()
            with os.scandir(self._folder / prefix) as entries:
                for entry in entries:
                    path = f"{prefix}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{path}/")
                    elif entry.is_file(follow_symlinks=False):
                        size = entry.stat(follow_symlinks=False).st_size
                        yield Member(path, size, refusal_of(path))
                    else:
                        yield Member(path, 0, "is a link or a special file")

    def chunks(self, path: str) -> Iterator[bytes]:
        try:
            with (self._folder / path).open("rb") as file:
                yield from _pieces(file)
        except OSError as error:
            raise DamagedError(f"can't be read ({error.strerror or error})") from error


class ZipMembers:
    """A zip, whose directory is checked as a whole before anything is read from it."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
            raise DamagedError("is not a zip that can be read") from error
        except OSError as error:
            raise DamagedError(f"can't be read ({error.strerror or error})") from error
        try:
            self._refuse_lies(path.stat().st_size)
        except DamagedError:
            self._zip.close()
            raise
        listed = self._zip.infolist()
        self._duplicates = _duplicates(listed) if len(listed) != len(self._zip.NameToInfo) else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def __iter__(self) -> Iterator[Member]:
        reported: set[str] = set()
        for entry in self._zip.infolist():
            if entry.is_dir() and not refusal_of(entry.filename.rstrip("/")):
                continue
            path = entry.orig_filename if "\0" in entry.orig_filename else entry.filename
            if path not in self._duplicates:
                yield Member(path, entry.file_size, _entry_refusal(entry, path))
            elif path not in reported:
                reported.add(path)
                yield Member(path, 0, f"is in the zip {self._duplicates[path]} times")

    def chunks(self, path: str) -> Iterator[bytes]:
        with _reading(), self._zip.open(path) as file:
            yield from _pieces(file)

    def _refuse_lies(self, zip_bytes: int) -> None:
        entries = self._zip.infolist()
        if sum(entry.compress_size for entry in entries) > zip_bytes:
            raise DamagedError("has entries that overlap each other")
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > EXPANSION_LIMIT * zip_bytes + EXPANSION_ALLOWANCE_BYTES:
            raise DamagedError(
                f"would unpack to {unpacked:,} bytes, more than {EXPANSION_LIMIT} times its size"
            )


def _duplicates(entries: list[zipfile.ZipInfo]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry.filename] = counts.get(entry.filename, 0) + 1
    return {name: count for name, count in counts.items() if count > 1}


def _entry_refusal(entry: zipfile.ZipInfo, path: str) -> str:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "is a link or a special file"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed by a method that is not read here"
    return refusal_of(path)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except zipfile.BadZipFile as error:
        raise DamagedError("is damaged (its zip entry does not fit its checksum)") from error
    except (OSError, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise DamagedError("can't be read from the zip") from error


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
