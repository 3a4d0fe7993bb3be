"""NumPy archives: `images`, `labels`, `classes`, or with a prefix for each split, as MedMNIST has.

The arrays are read here and not by `numpy.load`, so that a header is compared with what is there
before memory is taken, and images come one by one. Format: numpy.lib.format, NEP 1.
"""

from __future__ import annotations

import ast  # noqa: F401 - NumPy reads headers with these, and imports them when it does
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from math import prod
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from models.corpus.arrays import image_shape, rows, to_pixels
from models.corpus.container import Container, stream
from models.corpus.labels import classified, grouped
from models.corpus.limits import Limits
from models.corpus.source import SPLITS, SYNONYMS, Source, Split, Stored
from models.errors import DatasetError

ENDING: Final = ".npy"
SMALL_BYTES: Final = 256 << 20
"""Of labels and names, which are read whole."""


_NO_HEADER: Final = (
    KeyError, IndexError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError, EOFError,
    tokenize.TokenError,
)  # fmt: skip
_HEADERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Header(NamedTuple):
    """Of one array: where its values begin is where the stream stands."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    stream: BinaryIO


def open_npz(container: Container, limits: Limits) -> Source:
    """Keys: images, labels, and classes or group if wanted; or train_images, val_images, ….

    Images are [N, H, W] or [N, H, W, C]. Labels are [N] or [N, 1]: whole numbers from 0, or names.
    """
    prefixes = _prefixes(container)
    values: dict[Split, npt.NDArray[np.generic]] = {}
    group: dict[Split, npt.NDArray[np.generic]] = {}
    for split, prefix in prefixes.items():
        count = _header(container, f"{prefix}images").shape[0]
        values[split] = _column(container, f"{prefix}labels", count)
        if f"{prefix}group{ENDING}" in container.sizes:
            group[split] = _column(container, f"{prefix}group", count)
    names = None
    if f"classes{ENDING}" in container.sizes:
        names = [str(name) for name in _small(container, "classes").reshape(-1)]
    classes, labels = classified(values, names)
    groups, places = grouped({split: column.tolist() for split, column in group.items()})
    _check_groups(groups, values, group)

    def read(split: Split) -> Iterator[Stored]:
        return _images(container, split, f"{prefixes[split]}images", limits)

    return Source("npz", classes, labels, read, container.close, groups, places)


def _prefixes(container: Container) -> Mapping[Split, str]:
    """Split -> what stands before `images` and `labels` in the names of its arrays."""
    if f"images{ENDING}" in container.sizes:
        return {"train": ""}
    found: dict[Split, str] = {}
    for word, split in SYNONYMS.items():
        if f"{word}_images{ENDING}" in container.sizes:
            found.setdefault(split, f"{word}_")
    if not found:
        there = ", ".join(path.removesuffix(ENDING)[:40] for path in list(container.sizes)[:10])
        raise DatasetError(
            f"This npz has no `images` or `train_images`, and `labels`; it has: {there}.",
            "npz-keys",
        )
    return {split: found[split] for split in SPLITS if split in found}


def _check_groups(
    groups: tuple[str, ...],
    values: Mapping[Split, npt.NDArray[np.generic]],
    group: Mapping[Split, npt.NDArray[np.generic]],
) -> None:
    if groups and group.keys() != values.keys():
        raise DatasetError("This npz has a `group` for some splits only.", "npz-keys")


def _images(container: Container, split: Split, key: str, limits: Limits) -> Iterator[Stored]:
    header = _header(container, key)
    sides = image_shape(header.shape, f"`{key}`", limits)
    for number, row in enumerate(rows(header.stream, header.dtype, header.shape)):
        values = np.frombuffer(row, header.dtype).reshape(sides)
        yield Stored(f"{split}/{number:08d}", to_pixels(values, f"`{key}`, image {number},"))


def _column(container: Container, key: str, count: int) -> npt.NDArray[np.generic]:
    values = _small(container, key)
    column = values.reshape(-1)
    if values.ndim not in (1, 2) or len(column) != count:
        raise DatasetError(
            f"`{key}` has the shape {list(values.shape)} where there are {count:,} images; it must "
            "have one value for each.",
            "labels",
        )
    return column


def _small(container: Container, key: str) -> npt.NDArray[np.generic]:
    """A whole array of labels or names."""
    header = _header(container, key)
    if header.dtype.itemsize * prod(header.shape) > SMALL_BYTES:
        raise DatasetError(f"`{key}` is larger than labels or names are.", "labels")
    whole = (1, *header.shape)
    [content] = rows(header.stream, header.dtype, whole)
    return np.frombuffer(content, header.dtype).reshape(header.shape)


def _header(container: Container, key: str) -> Header:
    """Type and shape of an array, which are those of the bytes that are there."""
    path = f"{key}{ENDING}"
    if path not in container.sizes:
        raise DatasetError(f"This npz has no `{key}`.", "npz-keys")
    file = stream(container, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2
            shape, fortran, dtype = _HEADERS[npy.read_magic(file)](file)
    except _NO_HEADER as error:
        raise DatasetError(f"`{key}` of this npz is no NumPy array.", "damaged") from error
    if dtype.hasobject or dtype.kind not in "biufU":
        raise DatasetError(
            f"`{key}` of this npz holds {dtype}, which is not read: use numbers, and text for "
            "names. Objects would be pickles, and those are programs.",
            "object-array",
        )
    if fortran and len(shape) > 1 and prod(shape[1:]) > 1:
        raise DatasetError(
            f"`{key}` of this npz is stored by columns. Save numpy.ascontiguousarray of it.",
            "shape",
        )
    if not shape or dtype.itemsize * prod(shape) > container.sizes[path]:
        raise DatasetError(f"`{key}` of this npz is shorter than it says.", "damaged")
    return Header(dtype, shape, file)
