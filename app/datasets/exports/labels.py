"""The labels and marks in an export, by the reader of its format: does it hold what it says?"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import BinaryIO, cast

import numpy as np

from app.datasets import marks
from app.datasets.description import Description
from app.datasets.members import DamagedError, Member, Members

_LABEL_BYTES = 20
"""A label has fewer digits."""
_ROWS_AT_A_TIME = 256
"""Of a Parquet file, with their images."""


def labels_in(members: Members, description: Description) -> Counter[int]:
    """Label → number of samples in an export of that layout.

    Raises DamagedError where the format's reader can't read it, and where an image file lacks the
    mark that the description promises.
    """
    read, belongs = _READERS[description.layout]
    found: Counter[int] = Counter()
    for member in members:
        if belongs(member.path) and not member.refusal:
            with _as_damaged(member):
                found.update(read(members, member, description))
    return found


@contextmanager
def _as_damaged(member: Member) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:  # pyarrow's are among them
        raise DamagedError(f"holds a file that can't be read, {member.path!a} ({error})") from error


def _of_tar(members: Members, member: Member, description: Description) -> Iterator[int]:
    stream = _Stream(members.chunks(member))
    images = f".{description.encoding.extension}"
    with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            if file is not None and entry.name.endswith(".cls"):
                yield int(file.read(_LABEL_BYTES))
            elif file is not None and entry.name.endswith(images):
                image = file.read(description.image.file_bytes_limit)
                _check_mark(image, description, entry.name)


def _of_parquet(members: Members, member: Member, description: Description) -> Iterator[int]:
    from pyarrow import parquet

    with tempfile.TemporaryFile() as file:
        for chunk in members.chunks(member):
            file.write(chunk)
        file.seek(0)
        columns = ["label"] if description.identifier is None else ["label", "image", "index"]
        for batch in parquet.ParquetFile(file).iter_batches(_ROWS_AT_A_TIME, columns=columns):
            yield from batch.column("label").to_pylist()
            if description.identifier is not None:
                images = batch.column("image").field("bytes").to_pylist()
                for index, image in zip(batch.column("index").to_pylist(), images, strict=True):
                    _check_mark(image, description, str(index))


def _check_mark(image: bytes, description: Description, name: str) -> None:
    if description.identifier is None:
        return
    try:
        marks.check(image, description.identifier, name)
    except DamagedError as error:
        raise DamagedError(f"holds an image, {name!a}, that {error}") from error


def _of_array(members: Members, member: Member, _: Description) -> Iterator[int]:
    content = io.BytesIO(b"".join(members.chunks(member)))
    labels = np.lib.format.read_array(content, allow_pickle=False)
    yield from labels.astype(np.int64, casting="safe").tolist()


Read = Callable[[Members, Member, Description], Iterable[int]]

_READERS: Mapping[str, tuple[Read, Callable[[str], bool]]] = MappingProxyType(
    {
        "webdataset": (_of_tar, lambda path: path.endswith(".tar")),
        "parquet": (_of_parquet, lambda path: path.endswith(".parquet")),
        "npz": (_of_array, lambda path: path == "labels.npy"),
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
