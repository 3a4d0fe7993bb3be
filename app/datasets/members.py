"""The files of a dataset, in a folder or in a zip that may be hostile.

Nothing here writes. What can't be trusted is reported and never opened: names that leave the
folder, links, duplicates, entries that claim to unpack to far more than they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from models.corpus.zip_end import BadZipError
from models.corpus.zip_reader import Entry, ZipReader
from models.corpus.zip_safety import is_folder, refusal_of, refusal_of_entry

CHECKSUMS = "SHA256SUMS"
DESCRIPTION = "dataset.json"
METADATA = "metadata.jsonl"

CHUNK_BYTES = 1 << 16
EXPANSION_LIMIT = 50
EXPANSION_ALLOWANCE_BYTES = 64 << 20


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

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The content of a member in pieces; `DamagedError` when it can't be read."""
        ...


def members_of(path: Path) -> Members:
    """Opens a folder or a zip; `DamagedError` when it is neither."""
    return FolderMembers(path) if path.is_dir() else ZipMembers(path)


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

    def chunks(self, member: Member) -> Iterator[bytes]:
        with _as_damaged(), open(f"{self._folder}/{member.path}", "rb") as file:  # noqa: PTH123 - faster
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


@dataclass(frozen=True, slots=True)
class ZipMember(Member):
    """A file in a zip, and where it is there."""

    entry: Entry | None = None


class ZipMembers:
    """A zip, whose directory is checked as a whole before anything is read from it."""

    def __init__(self, path: Path) -> None:
        with _as_damaged():
            self._zip = ZipReader(path)
            try:
                _refuse_lies(self._zip)
            except BaseException:
                self._zip.__exit__()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.__exit__()

    def __iter__(self) -> Iterator[Member]:
        with _as_damaged():
            for entry in self._zip:
                name = entry.name
                refusal = refusal_of_entry(entry, name)
                if refusal or not is_folder(entry, name):
                    yield ZipMember(name, entry.bytes, refusal, entry)

    def chunks(self, member: Member) -> Iterator[bytes]:
        if not isinstance(member, ZipMember) or member.entry is None:
            raise TypeError("a member of another container")
        with _as_damaged():
            yield from self._zip.chunks(member.entry)


def _refuse_lies(archive: ZipReader) -> None:
    packed = unpacked = 0
    for entry in archive:
        packed, unpacked = packed + entry.compressed, unpacked + entry.bytes
    if packed > archive.size:
        raise DamagedError("has entries that overlap each other")
    if unpacked > EXPANSION_LIMIT * archive.size + EXPANSION_ALLOWANCE_BYTES:
        raise DamagedError(
            f"would unpack to {unpacked:,} bytes, more than {EXPANSION_LIMIT} times its size"
        )


@contextmanager
def _as_damaged() -> Iterator[None]:
    try:
        yield
    except BadZipError as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        raise DamagedError(f"can't be read ({error.strerror or error})") from error
