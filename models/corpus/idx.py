"""IDX files, as MNIST and its relatives come: `{split}-images-idx3-ubyte`, gzipped or not.

Format: 0, 0, type, rank, a big-endian uint32 for each side, the values row by row.
http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import gzip
import hashlib
import io
import posixpath
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import BinaryIO, Final, NamedTuple, cast

import numpy as np

from models.corpus.arrays import image_shape, rows, to_pixels
from models.corpus.container import Container, content, stream
from models.corpus.labels import classified
from models.corpus.limits import Limits
from models.corpus.source import SYNONYMS, Labels, Source, Split, Stored
from models.errors import DatasetError

NAME: Final = re.compile(r"(.*)-(images|labels)[-.]idx[0-9]-ubyte(\.gz)?")
OF_MNIST: Final[dict[str, Split]] = {"t10k": "test"}
UINT8: Final = 0x08
CLASSES: Final = "classes.txt"
FASHION_MNIST: Final = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
"""Class names of Fashion-MNIST by label (Xiao et al. 2017, table 2, in one word each)."""
FASHION_LABELS: Final = (
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
)
"""SHA-256 of its labels, training and test, one byte each: files of this name look all alike."""


class Array(NamedTuple):
    """Shape of an IDX file and the stream of its values, one byte each."""

    shape: tuple[int, ...]
    stream: BinaryIO


def is_idx(path: str) -> bool:
    """Whether a file has the name of an IDX file."""
    return NAME.fullmatch(posixpath.basename(path)) is not None


def open_idx(container: Container, paths: Sequence[str], limits: Limits) -> Source:
    """A pair of files for each split: `train`, `t10k` or `test`, `val`, ….

    Classes are named by `classes.txt`, one name a line, where it is there; Fashion-MNIST's as
    they are known; else by their numbers.
    """
    pairs = _pairs(paths)
    images = {split: pair["images"] for split, pair in pairs.items()}
    values = {split: _labels(container, pair["labels"], limits) for split, pair in pairs.items()}
    for split, path in images.items():
        shape = _array(container, path).shape
        if len(shape) not in (3, 4) or shape[0] != len(values[split]):
            raise DatasetError(
                f"{path!a} holds {list(shape)} where there are {len(values[split]):,} labels.",
                "shape",
            )
    classes, labels = classified(values, _names(container, paths, values, limits))

    def read(split: Split) -> Iterator[Stored]:
        return _images(container, split, images[split], limits)

    return Source("idx", classes, labels, read, container.close)


def _pairs(paths: Sequence[str]) -> dict[Split, dict[str, str]]:
    pairs: dict[Split, dict[str, str]] = {}
    for path in paths:
        found = NAME.fullmatch(posixpath.basename(path))
        if found is None:
            continue
        word = found[1].lower()
        split = OF_MNIST.get(word) or SYNONYMS.get(word)
        if split is None:
            raise DatasetError(f"{path!a}: {word[:40]!a} is no name of a split.", "layout")
        if found[2] in pairs.setdefault(split, {}):
            raise DatasetError(
                f"There are two files of {found[2]} for {split}. Keep one.", "layout"
            )
        pairs[split][found[2]] = path
    for split, pair in pairs.items():
        if missing := {"images", "labels"} - pair.keys():
            raise DatasetError(f"The {split} split has no file of {missing.pop()}.", "layout")
    return pairs


def _labels(container: Container, path: str, limits: Limits) -> Labels:
    array = _array(container, path)
    if len(array.shape) != 1 or array.shape[0] > limits.images:
        raise DatasetError(f"{path!a} holds {list(array.shape)}, no list of labels.", "labels")
    with _unpacked(path):
        [values] = rows(array.stream, np.dtype(np.uint8), (1, *array.shape))
    return np.frombuffer(values, np.uint8).astype(np.int64)


def _images(container: Container, split: Split, path: str, limits: Limits) -> Iterator[Stored]:
    array = _array(container, path)
    sides = image_shape(array.shape, f"{path!a}", limits)
    with _unpacked(path):
        for number, row in enumerate(rows(array.stream, np.dtype(np.uint8), array.shape)):
            pixels = to_pixels(np.frombuffer(row, np.uint8).reshape(sides), path)
            yield Stored(f"{split}/{number:08d}", pixels)


def _array(container: Container, path: str) -> Array:
    file = stream(container, path)
    if path.endswith(".gz"):
        file = cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=file)))
    with _unpacked(path):
        head = file.read(4)
        if len(head) < 4 or head[:3] != bytes([0, 0, UINT8]):
            raise DatasetError(f"{path!a} is no IDX file of unsigned bytes.", "damaged")
        sides = file.read(4 * head[3])
        if len(sides) < 4 * head[3] or not head[3]:
            raise DatasetError(f"{path!a} is no IDX file of unsigned bytes.", "damaged")
    shape = tuple(np.frombuffer(sides, ">u4").tolist())
    if not path.endswith(".gz") and prod(shape) > container.sizes[path]:
        raise DatasetError(f"{path!a} is shorter than it says.", "damaged")
    return Array(shape, file)


@contextmanager
def _unpacked(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path!a} cannot be read as gzipped IDX: {error}.", "damaged"
        ) from error


def _names(
    container: Container, paths: Sequence[str], values: dict[Split, Labels], limits: Limits
) -> tuple[str, ...] | None:
    lists = [path for path in paths if posixpath.basename(path) == CLASSES]
    if lists:
        try:
            text = content(container, lists[0], limits).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DatasetError(f"{CLASSES} is no UTF-8 text.", "class-name") from error
        return tuple(line.strip() for line in text.split("\n") if line.strip())
    digests = {_digest(labels) for labels in values.values()}
    return FASHION_MNIST if digests & set(FASHION_LABELS) else None


def _digest(labels: Labels) -> str:
    return hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest()
