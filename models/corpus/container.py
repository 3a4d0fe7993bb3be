"""The files of a dataset, in a folder or in a zip archive that may be hostile.

Nothing is ever unpacked: files are read where they lie. An archive is looked through as a whole
first, and refused for one bad entry, because nobody can tell what the others are worth then.
"""

from __future__ import annotations

import io
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from models.corpus.limits import Limits
from models.corpus.zip_end import BadZipError
from models.corpus.zip_reader import Entry, ZipReader
from models.corpus.zip_safety import is_folder, refusal_of_entry
from models.errors import DatasetError

EXPANSION_ALLOWANCE_BYTES: Final = 64 << 20
CHUNK_BYTES: Final = 1 << 16
NESTED: Final = (".zip", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst", ".tar.gz")
_LOCAL_HEADER_BYTES: Final = 30
_UTF8_FLAG: Final = 0x800


class Container(Protocol):
    """Files by their path, `/` between its parts; closed with `close`."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Path -> bytes, in the order of the paths."""
        ...

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of a file in pieces. Raises DatasetError when it can't be read."""
        ...

    def close(self) -> None: ...


class Folder:
    """A folder of the user's own disk. Links are followed, each folder once."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root = root
        self._open: list[BinaryIO] = []
        self.sizes = dict(sorted(_walk(root, limits)))

    def open(self, path: str) -> BinaryIO:
        """A file that can be read from anywhere, until the folder is closed."""
        with _readable(path):
            self._open.append((self._root / path).open("rb"))
        return self._open[-1]

    def pieces(self, path: str) -> Iterator[bytes]:
        with _readable(path), (self._root / path).open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece

    def close(self) -> None:
        """Close what was opened."""
        for file in self._open:
            file.close()


class Archive:
    """A zip archive. Raises DatasetError for one that lies, or that could do harm unpacked."""

    def __init__(self, source: Path | BinaryIO, limits: Limits) -> None:
        with _readable("the archive"):
            self._zip = ZipReader(source)
        try:
            self._entries = _entries(self._zip, limits)
        except BaseException:
            self.close()
            raise
        self.sizes = {name: entry.bytes for name, entry in sorted(self._entries.items())}

    def pieces(self, path: str) -> Iterator[bytes]:
        with _readable(path):
            yield from self._zip.chunks(self._entries[path])

    def close(self) -> None:
        """Close the file."""
        self._zip.__exit__()


def content(container: Container, path: str, limits: Limits) -> bytes:
    """A whole file, if it is not too large."""
    if container.sizes[path] > limits.file_bytes:
        raise DatasetError(
            f"{path!a} has more than {limits.file_bytes:,} bytes. Make it smaller.",
            "file-too-large",
        )
    return b"".join(container.pieces(path))


def stream(container: Container, path: str) -> BinaryIO:
    """A file to be read from its beginning. At its end its checksum has been right."""
    return io.BufferedReader(_Pieces(container.pieces(path)), CHUNK_BYTES)


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def _walk(root: Path, limits: Limits) -> Iterator[tuple[str, int]]:
    pending, seen, count = [""], {_identity(root)}, 0
    while pending:
        prefix = pending.pop()
        with os.scandir(root / prefix) as entries:
            for entry in entries:
                count += 1
                if count > limits.members:
                    raise _too_many(limits)
                path = f"{prefix}{entry.name}"
                if not entry.is_dir():
                    if entry.is_file():
                        yield path, entry.stat().st_size
                elif (identity := _identity(root / path)) not in seen:
                    seen.add(identity)
                    pending.append(f"{path}/")


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(archive: ZipReader, limits: Limits) -> dict[str, Entry]:
    entries: list[tuple[str, Entry]] = []
    with _readable("the archive"):
        for entry in archive:
            if len(entries) == limits.members:
                raise _too_many(limits)
            entries.append((_name(entry), entry))
    for name, entry in entries:
        if refusal := refusal_of_entry(entry, name):
            raise DatasetError(
                f"The archive is refused: its member {name[:200]!a} {refusal}.", "unsafe-member"
            )
    _refuse_overlaps([entry for _, entry in entries], archive.content_stop)
    _refuse_bombs([entry for _, entry in entries], archive.size, limits)
    files = [(name, entry) for name, entry in entries if not is_folder(entry, name)]
    _refuse_twins([name for name, _ in files])
    _refuse_nested([name for name, _ in files])
    return dict(files)


def _name(entry: Entry) -> str:
    """Many programs write UTF-8 without saying so; cp437 is what is meant where it is none."""
    if not entry.flags & _UTF8_FLAG:
        try:
            return entry.raw_name.decode()
        except UnicodeDecodeError:
            return entry.raw_name.decode("cp437")
    return entry.name


def _refuse_overlaps(entries: Sequence[Entry], stop: int) -> None:
    def end(entry: Entry) -> int:
        return entry.offset + _LOCAL_HEADER_BYTES + len(entry.raw_name) + entry.compressed

    ordered = sorted(entries, key=lambda entry: entry.offset)
    overlap = any(end(entry) > after.offset for entry, after in pairwise(ordered))
    if overlap or (ordered and end(ordered[-1]) > stop):
        raise DatasetError(
            "The archive is refused: entries of it overlap each other. Pack it again.",
            "overlapping-entries",
        )


def _refuse_bombs(entries: Sequence[Entry], size: int, limits: Limits) -> None:
    unpacked = sum(entry.bytes for entry in entries)
    most = min(limits.unpacked_bytes, limits.expansion * size + EXPANSION_ALLOWANCE_BYTES)
    if unpacked > most:
        raise DatasetError(
            f"The archive is refused: it would unpack to {unpacked:,} bytes, and at most "
            f"{most:,} are allowed for one of its size. Pack it without compression, or in parts.",
            "too-large-expanded",
        )


def _refuse_twins(names: Sequence[str]) -> None:
    """Names that are one on some disk: there, one file would take the other's place."""
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise DatasetError(
                f"The archive is refused: its members {seen[key][:200]!a} and {name[:200]!a} are "
                "one file on some disks. Rename one of them.",
                "duplicate-member",
            )
        seen[key] = name


def _refuse_nested(names: Sequence[str]) -> None:
    for name in names:
        if name.lower().endswith(NESTED):
            raise DatasetError(
                f"The archive is refused: it holds another archive, {name[:200]!a}. Unpack that, "
                "and pack the images alone.",
                "nested-archive",
            )


def _too_many(limits: Limits) -> DatasetError:
    return DatasetError(
        f"The dataset has more than {limits.members:,} files. Bring it in parts, or as Parquet.",
        "too-many-members",
    )


@contextmanager
def _readable(what: str) -> Iterator[None]:
    shown = what if what == "the archive" else f"{what[:200]!a}"
    try:
        yield
    except BadZipError as error:
        raise DatasetError(
            f"The dataset can't be read: {shown} {error}. Pack or download it again.",
            "damaged-archive",
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetError(
            f"The dataset can't be read: {shown}: {reason}.", "unreadable"
        ) from error
