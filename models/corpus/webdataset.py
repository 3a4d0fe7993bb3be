"""WebDataset: tar files in which neighbours of one name are a sample, `7.png`, `7.cls`, `7.json`.

The name ends at the first full stop behind the last slash (https://github.com/webdataset/webdataset).
A tar file is read from its beginning to its end, once for the labels and once for the images, and
nothing of it is unpacked.
"""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, BinaryIO, Final, NamedTuple, cast

from models.corpus.image_files import ENDINGS
from models.corpus.labels import classified
from models.corpus.layout import is_clutter
from models.corpus.limits import Limits
from models.corpus.source import Source, Split, Stored, split_of
from models.corpus.zip_safety import refusal_of
from models.errors import DatasetError
from models.importing.errors import shown

ENDING: Final = ".tar"
_MAGIC: Final = (257, b"ustar")
LABEL, FACTS = "cls", "json"
_LABEL_BYTES: Final = 1 << 10
_FACTS_BYTES: Final = 1 << 20
_HEADERS_BYTES: Final = 1 << 20
"""Of one member: its name, its attributes, padding, and what is read ahead."""

Open = Callable[[], BinaryIO]
"""Gives a tar file at its beginning."""


class _Member(NamedTuple):
    key: str
    field: str
    content: bytes


class _Sample(NamedTuple):
    key: str
    fields: Mapping[str, bytes]


def is_tar(head: bytes) -> bool:
    """Whether a file begins as tar files do."""
    place, magic = _MAGIC
    return head[place:].startswith(magic)


def open_webdataset(
    files: Mapping[str, Open],
    close: Callable[[], None],
    limits: Limits,
    names: Sequence[str] | None = None,
) -> Source:
    """Name -> tar file. The split is that of the file's name or folder (`train-000000.tar`).

    The label is the member `class` of the `.json`, else the `.cls`, else `label` of the `.json`.
    names: of the classes, in the order of their numbers, where that is known.
    """
    splits = {name: _split_of(name) for name in sorted(files)}
    values: dict[Split, list[int | str]] = defaultdict(list)
    count = 0
    for name, split in splits.items():
        for sample in _samples(name, files[name], limits, {LABEL, FACTS}):
            count += 1
            if count > limits.images:
                raise DatasetError(
                    f"The dataset has more than {limits.images:,} images. Bring a part of it.",
                    "too-many-images",
                )
            values[split].append(_label_of(name, sample))
    classes, labels = classified(values, names)

    def read(split: Split) -> Iterator[Stored]:
        number = 0
        for name in (name for name, each in splits.items() if each == split):
            for sample in _samples(name, files[name], limits, _IMAGES):
                yield _stored(name, sample, split, number)
                number += 1

    return Source("webdataset", classes, labels, read, close)


_IMAGES: Final = {ending.removeprefix(".") for ending in ENDINGS}


def _split_of(name: str) -> Split:
    parts = name.removesuffix(ENDING).replace("-", "/").split("/")
    return next((split for part in parts if (split := split_of(part))), "train")


def _label_of(name: str, sample: _Sample) -> int | str:
    facts: Any = {}
    if FACTS in sample.fields:
        try:
            facts = json.loads(sample.fields[FACTS])
        except (ValueError, RecursionError) as error:
            raise _broken(name, f"the .json of {sample.key[:200]!a} is none") from error
    facts = facts if isinstance(facts, dict) else {}
    label = facts.get("class")
    if not isinstance(label, str):
        text = sample.fields.get(LABEL, b"").decode(errors="replace").strip()
        number = text.isascii() and text.isdigit() and len(text) < 10
        label = int(text) if number else text or facts.get("label")
    if type(label) not in (int, str) or label == "":
        raise DatasetError(
            f"{sample.key[:200]!a} in {name[:200]!a} has no label: each image needs a .cls, or a "
            ".json with `class` or `label`.",
            "labels",
        )
    return cast("int | str", label)


def _stored(name: str, sample: _Sample, split: Split, number: int) -> Stored:
    if len(sample.fields) != 1:
        raise DatasetError(
            f"{sample.key[:200]!a} in {name[:200]!a} has {len(sample.fields)} images, where there "
            f"must be one. Read are: {', '.join(sorted(_IMAGES))}.",
            "no-image-bytes",
        )
    [(field, content)] = sample.fields.items()
    path = f"{sample.key}.{field}"
    return Stored(f"{split}/{number:08d}" if refusal_of(path) else path, content)


def _samples(name: str, opener: Open, limits: Limits, wanted: set[str]) -> Iterator[_Sample]:
    """The samples of a tar file in order, each with those of its fields that are wanted."""
    seen: set[str] = set()
    for key, members in groupby(_members(name, opener, limits, wanted), lambda each: each.key):
        fields: dict[str, bytes] = {}
        seen.clear()
        for member in members:
            if member.field in seen:
                raise _broken(name, f"{key[:200]!a} has two files .{member.field[:40]}")
            seen.add(member.field)
            if member.field in wanted:
                fields[member.field] = member.content
        yield _Sample(key, fields)


def _members(name: str, opener: Open, limits: Limits, wanted: set[str]) -> Iterator[_Member]:
    """Every file, with its content where it is wanted."""
    metered = _Metered(opener(), name)
    with (
        _readable(name),
        tarfile.open(fileobj=cast("BinaryIO", metered), mode="r|") as archive,
    ):
        while (entry := archive.next()) is not None:
            cast("Any", archive).members = []  # it would keep every one
            metered.allow(entry.offset_data + _checked(name, entry, limits))
            path = entry.name.removeprefix("./")
            if entry.isdir() or is_clutter(path):
                continue
            folder, base = posixpath.split(path)
            stem, _, field = base.partition(".")
            field, content = field.lower(), b""
            if field in wanted:
                _check_size(name, entry, {LABEL: _LABEL_BYTES, FACTS: _FACTS_BYTES}.get(field))
                file = archive.extractfile(entry)
                assert file is not None  # a regular file
                content = file.read()
            yield _Member(posixpath.join(folder, stem), field, content)
        if not metered.zeros_at(archive.offset):  # the library takes that for the end
            raise _broken(name, "a header in it is damaged")


def _checked(name: str, entry: tarfile.TarInfo, limits: Limits) -> int:
    """Bytes of a member that is safe to pass or to read. Raises DatasetError for any other."""
    if not (entry.isdir() or entry.isreg()) or entry.issparse():
        refusal = "is a link or a special file"
    else:
        refusal = "" if entry.isdir() else refusal_of(entry.name.removeprefix("./"))
    if refusal:
        raise DatasetError(
            f"The tar file {name[:200]!a} is refused: its member {entry.name[:200]!a} {refusal}.",
            "unsafe-member",
        )
    _check_size(name, entry, limits.file_bytes)
    return entry.size


def _check_size(name: str, entry: tarfile.TarInfo, most: int | None) -> None:
    if entry.size < 0:
        raise _broken(name, f"{entry.name[:200]!a} has no size")
    if most is not None and entry.size > most:
        raise DatasetError(
            f"{entry.name[:200]!a} in {name[:200]!a} has more than {most:,} bytes. Make it "
            "smaller.",
            "file-too-large",
        )


class _Metered:
    """A stream that ends where no member can be: headers that claim to be endless are not read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._read, self._most = 0, _HEADERS_BYTES
        self._tail = b""

    def allow(self, position: int) -> None:
        """Members end here, and the next one's headers follow."""
        self._most = position + _HEADERS_BYTES

    def read(self, size: int) -> bytes:
        """The next bytes. Raises DatasetError."""
        if self._read > self._most:
            raise _broken(self._name, "what stands before a member is too long")
        piece = self._file.read(size)
        self._read += len(piece)
        self._tail = self._tail[-len(piece) :] + piece
        return piece

    def zeros_at(self, position: int) -> bool:
        """Whether the block that was read last, from there on, is empty, or there is none."""
        start = position - (self._read - len(self._tail))
        return not any(self._tail[start : start + tarfile.BLOCKSIZE])


def _broken(name: str, what: str) -> DatasetError:
    return DatasetError(
        f"The tar file {name[:200]!a} can't be read: {what}. Write or download it again.", "damaged"
    )


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        raise _broken(name, shown(str(error), 200).rstrip(".")) from error
