"""The labels in an export, by the reader of its format: does it hold what it says?"""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from app.datasets import marks
from app.datasets.description import Description
from app.datasets.members import DamagedError, Member, Members
from app.jobs.merge import REAL, SYNTHETIC, TRAIN
from models.corpus.source import SYNONYMS

_LABEL_BYTES = 20
"""A label has fewer digits."""
_ROWS_AT_A_TIME = 256
"""Of a Parquet file, with their images."""
_FACTS_BYTES = 64 << 10
"""What is said of one sample is shorter."""


class Labelled(NamedTuple):
    """What a sample says of itself: origin is `real` or `synthetic`."""

    split: str
    origin: str
    label: int


def labels_in(members: Members, description: Description) -> Counter[Labelled]:
    """How often each label is there, in an export of that layout.

    Raises DamagedError where the format's reader can't read it, and where the image file of a
    sample lacks the mark that the description promises.
    """
    read, belongs = _READERS[description.layout]
    found: Counter[Labelled] = Counter()
    for member in members:
        if belongs(member.path) and not member.refusal:
            split = _split_of(member.path)
            with _as_damaged(member):
                for origin, label in read(members, member, description):
                    found[Labelled(split, origin, label)] += 1
    return found


def _split_of(path: str) -> str:
    """By the beginning of a file's name; `train` where it says nothing."""
    start = re.split(r"[-_.]", path.rpartition("/")[2])[0]
    return SYNONYMS.get(start, TRAIN)


@contextmanager
def _as_damaged(member: Member) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:  # pyarrow's are among them
        raise DamagedError(f"holds a file that can't be read, {member.path!a} ({error})") from error


def _of_tar(
    members: Members, member: Member, description: Description
) -> Iterator[tuple[str, int]]:
    """Of a sample come its image, its label and its facts, in this order."""
    stream = _Stream(members.chunks(member))
    images = f".{description.encoding.extension}"
    merged, image, image_name, label = description.merged is not None, b"", "", -1
    with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as archive:
        for entry in archive:
            if not entry.isfile():
                continue
            if entry.name.endswith(images):
                image = _start_of(archive, entry, description.image.file_bytes_limit)
                image_name = entry.name
                if not merged:
                    _check_mark(image, description, image_name)
            elif entry.name.endswith(".cls"):
                label = int(_start_of(archive, entry, _LABEL_BYTES))
                if not merged:
                    yield SYNTHETIC, label
            elif merged and entry.name.endswith(".json"):
                origin = _origin(json.loads(_start_of(archive, entry, _FACTS_BYTES)))
                if origin == SYNTHETIC:
                    _check_mark(image, description, image_name)
                yield origin, label


def _start_of(archive: tarfile.TarFile, entry: tarfile.TarInfo, most: int) -> bytes:
    file = archive.extractfile(entry)
    assert file is not None
    return file.read(most)


def _origin(facts: Any) -> str:
    origin = facts.get("origin") if isinstance(facts, dict) else None
    if origin not in (REAL, SYNTHETIC):
        raise ValueError("a sample does not say whether it is real or synthetic")
    return str(origin)


def _of_parquet(
    members: Members, member: Member, description: Description
) -> Iterator[tuple[str, int]]:
    from pyarrow import parquet

    with tempfile.TemporaryFile() as file:
        for chunk in members.chunks(member):
            file.write(chunk)
        file.seek(0)
        columns = ["label"] if description.merged is None else ["label", "origin"]
        columns += [] if description.identifier is None else ["image", "index"]
        for batch in parquet.ParquetFile(file).iter_batches(_ROWS_AT_A_TIME, columns=columns):
            labels = batch.column("label").to_pylist()
            origins = [SYNTHETIC] * len(labels)
            if description.merged is not None:
                origins = batch.column("origin").to_pylist()
            if description.identifier is not None:
                images = batch.column("image").field("bytes").to_pylist()
                indices = batch.column("index").to_pylist()
                for origin, index, image in zip(origins, indices, images, strict=True):
                    if origin == SYNTHETIC:
                        _check_mark(image, description, str(index))
            yield from zip(origins, labels, strict=True)


def _check_mark(image: bytes, description: Description, name: str) -> None:
    if description.identifier is None:
        return
    try:
        marks.check(image, description.identifier, name)
    except DamagedError as error:
        raise DamagedError(f"holds an image, {name!a}, that {error}") from error


def _of_array(
    members: Members, member: Member, description: Description
) -> Iterator[tuple[str, int]]:
    labels = _array(members, member).astype(np.int64, casting="safe").tolist()
    origins = [SYNTHETIC] * len(labels)
    if description.merged is not None:
        path = member.path.replace("labels.npy", "origin.npy")
        beside = next((each for each in members if each.path == path), None)
        if beside is None or beside.refusal:
            raise ValueError("no origin stands beside the labels")
        origins = _array(members, beside).tolist()
    yield from zip(origins, labels, strict=True)


def _array(members: Members, member: Member) -> NDArray[np.generic]:
    content = io.BytesIO(b"".join(members.chunks(member)))
    return np.asarray(np.lib.format.read_array(content, allow_pickle=False))


Read = Callable[[Members, Member, Description], Iterable[tuple[str, int]]]

_READERS: Mapping[str, tuple[Read, Callable[[str], bool]]] = MappingProxyType(
    {
        "webdataset": (_of_tar, lambda path: path.endswith(".tar")),
        "parquet": (_of_parquet, lambda path: path.endswith(".parquet")),
        "npz": (_of_array, lambda path: path.endswith("labels.npy")),
    }
)


class _Stream:
    """Chunks as a file that is read to its end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes."""
        while len(self._held) < size and (chunk := next(self._chunks, b"")):
            self._held += chunk
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken
