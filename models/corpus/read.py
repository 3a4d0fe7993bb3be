"""Datasets from whatever they come in: the format is told by what is there, not by options."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from models.corpus.container import Archive, Container, Folder, content, stream
from models.corpus.corpus import Corpus
from models.corpus.described import BESIDE, Described, described, without_empty
from models.corpus.folders import METADATA, open_class_folders, open_metadata
from models.corpus.idx import is_idx, open_idx
from models.corpus.image_files import ENDINGS, decoded, glance
from models.corpus.layout import is_clutter
from models.corpus.limits import DEFAULT, Limits
from models.corpus.npz import ENDING as NPY
from models.corpus.npz import open_npz
from models.corpus.parquet import ENDING as PARQUET
from models.corpus.parquet import open_parquet
from models.corpus.preprocessing import Pixels, Preprocessing, pixels_of
from models.corpus.source import Item, Source, Split, checked
from models.corpus.webdataset import ENDING as TAR
from models.corpus.webdataset import is_tar, open_webdataset
from models.errors import DatasetError

HEAD_BYTES: Final = 512
ZIP_STARTS: Final = (b"PK\x03\x04", b"PK\x05\x06")
PARQUET_START: Final = b"PAR1"
OTHERS: Final[Mapping[bytes, str]] = {
    b"version https://git-lfs": "is a Git LFS pointer; run `git lfs pull`",
    b"\x1f\x8b": "is a gzipped file; unpack it, and give the folder or a zip",
    b"7z\xbc\xaf": "is a 7z archive; unpack it, and give the folder or a zip",
    b"Rar!": "is a RAR archive; unpack it, and give the folder or a zip",
    b"BZh": "is a bzip2 file; unpack it, and give the folder or a zip",
    b"\xfd7zXZ": "is an xz file; unpack it, and give the folder or a zip",
    b"\x93NUMPY": "is a single array; save images and labels together with numpy.savez",
    b"\x89HDF": "is an HDF5 file; save its arrays with numpy.savez",
    b"\x80": "is a pickle, which is a program; save its arrays with numpy.savez",
    b"<": "is a web page; download the file itself",
}


def read(
    path: Path,
    *,
    split: Split | None = None,
    preprocessing: Preprocessing | None = None,
    limits: Limits = DEFAULT,
) -> Corpus:
    """One split of the dataset at `path`, in memory.

    path: a folder or zip of class folders, a Hugging Face ImageFolder, IDX or Parquet files; an
    npz; a Parquet file; the tar files of a WebDataset. split: the training split if left out, or
    the only one there is; a dataset without splits is one training split. preprocessing: the size
    and channels of the result; left out, all images must have one size, and there are as many
    channels as the richest image has.

    Raises DatasetError, whose sentence says what to do.
    """
    with open_source(path, limits) as source:
        return to_corpus(source, _chosen(source, split), preprocessing, limits)


def read_splits(
    path: Path, *, preprocessing: Preprocessing | None = None, limits: Limits = DEFAULT
) -> dict[Split, Corpus]:
    """Every split that the dataset has, of "train", "validation" and "test". See `read`."""
    with open_source(path, limits) as source:
        return {split: to_corpus(source, split, preprocessing, limits) for split in source.splits}


def open_source(path: Path | BinaryIO, limits: Limits = DEFAULT) -> Source:
    """The dataset at a path or in an open file, its images not read yet. Raises DatasetError."""
    if isinstance(path, Path) and path.is_dir():
        return checked(_of_files(Folder(path, limits), limits), limits)
    try:
        file = path.open("rb") if isinstance(path, Path) else path
        head = file.read(HEAD_BYTES)
        file.seek(0)
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error.strerror}.", "unreadable") from error
    try:
        refuse_unknown(head)
        if head.startswith(ZIP_STARTS):
            return checked(_of_files(Archive(file, limits), limits), limits)
        if is_tar(head):
            tar = {"data": partial(_rewound, file)}
            return checked(open_webdataset(tar, file.close, limits), limits)
        return checked(open_parquet({"data": file}, file.close, limits), limits)
    except BaseException:
        file.close()
        raise


def _rewound(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return file


def to_corpus(
    source: Source, split: Split, preprocessing: Preprocessing | None, limits: Limits = DEFAULT
) -> Corpus:
    """The images of a split of an open source. See `read`."""
    if split not in source.labels:
        there = ", ".join(source.splits)
        raise DatasetError(f"The dataset has no {split} split; it has: {there}.", "no-such-split")
    shape = preprocessing or _shape(source, split, limits)
    count = len(source.labels[split])
    if count * shape.bytes > limits.corpus_bytes:
        raise DatasetError(
            f"{count:,} images of {shape.height} x {shape.width} x {shape.channels} take "
            f"{count * shape.bytes:,} bytes of memory, and at most {limits.corpus_bytes:,} are "
            "used. State a smaller size.",
            "too-large",
        )
    images = np.empty((count, shape.height, shape.width, shape.channels), np.uint8)
    for position, item in enumerate(source.items(split)):
        images[position] = fitted(item, shape, limits)
    group = source.group.get(split)
    groups = source.groups if group is not None else ()
    return Corpus(images, source.labels[split], source.classes, groups, group)


def native_pixels(item: Item, limits: Limits = DEFAULT) -> Pixels:
    """An image as it is: uint8 [H, W, 1, 3 or 4]. Raises DatasetError for one that is damaged."""
    if isinstance(item.content, bytes):
        return pixels_of(decoded(item.content, item.name, limits))
    return item.content


def fitted(item: Item, shape: Preprocessing, limits: Limits = DEFAULT) -> Pixels:
    """An image as uint8 [H, W, C] of that shape. Raises DatasetError for one that is damaged."""
    if isinstance(item.content, bytes):
        return shape.apply(decoded(item.content, item.name, limits))
    return shape.apply_to(item.content)


def _of_files(container: Container, limits: Limits) -> Source:
    """By the first format whose files are there."""
    try:
        paths = [path for path in container.sizes if not is_clutter(path)]
        known = described(container, paths, limits)
        source = _by_format(container, paths, known, limits)
        return source if known is None else without_empty(source)
    except BaseException:
        container.close()
        raise


def _by_format(
    container: Container, paths: Sequence[str], known: Described | None, limits: Limits
) -> Source:
    if not paths:
        raise DatasetError("There are no files in the dataset.", "no-images")
    names = None if known is None else known.classes
    inside = [path for path in paths if posixpath.basename(path) not in BESIDE]
    tars = [path for path in paths if path.lower().endswith(TAR)]
    if tars:
        _refuse_beside(paths, tars)
        streams = {path: partial(stream, container, path) for path in tars}
        return open_webdataset(streams, container.close, limits, names)
    if inside and all(path.endswith(NPY) for path in inside):
        return open_npz(container, limits)
    if any(posixpath.basename(path) in METADATA for path in paths):
        return open_metadata(container, paths, limits, names)
    if any(is_idx(path) for path in paths):
        return open_idx(container, paths, limits)
    tables = [path for path in paths if path.endswith(PARQUET)]
    if tables:
        files = {path: _whole(container, path, limits) for path in tables}
        return open_parquet(files, container.close, limits)
    return open_class_folders(container, paths, limits, known)


def _refuse_beside(paths: Sequence[str], tars: Sequence[str]) -> None:
    """Tar files are a WebDataset where no images lie beside them."""
    if any(path.lower().endswith((*ENDINGS, NPY, PARQUET)) for path in paths):
        raise DatasetError(
            f"The dataset is refused: it holds another archive, {tars[0][:200]!a}, beside images. "
            "Unpack that, and pack the images alone; of a WebDataset pack the tar files.",
            "nested-archive",
        )


def _whole(container: Container, path: str, limits: Limits) -> BinaryIO:
    """A file that is read from its end: from disk where it lies there, else from memory."""
    if isinstance(container, Folder):
        return container.open(path)
    return io.BytesIO(content(container, path, limits))


def _chosen(source: Source, split: Split | None) -> Split:
    if split is not None or "train" in source.labels:
        return split or "train"
    if len(source.splits) == 1:
        return source.splits[0]
    raise DatasetError(
        f"The dataset has no training split; name one of: {', '.join(source.splits)}.",
        "no-such-split",
    )


def _shape(source: Source, split: Split, limits: Limits) -> Preprocessing:
    """The size that all images have, and the channels of the richest one. All splits count, so
    that none is read with fewer channels than the others."""
    sizes: set[tuple[int, int]] = set()
    channels = 0
    for each in source.splits:
        for item in source.items(each):
            height, width, found = _size(item, limits)
            sizes.add((height, width))
            channels = max(channels, found)
            if len(sizes) > 1:
                shown = " and ".join(f"{width} x {height}" for height, width in sorted(sizes))
                raise DatasetError(
                    f"The images differ in size ({shown}). State the height and width that they "
                    "shall have.",
                    "sizes-differ",
                )
            if not isinstance(item.content, bytes):
                break  # an array: all its images are alike
    [(height, width)] = sizes
    return Preprocessing.model_validate({"height": height, "width": width, "channels": channels})


def _size(item: Item, limits: Limits) -> tuple[int, int, int]:
    if isinstance(item.content, bytes):
        return glance(item.content, item.name, limits)
    height, width, channels = item.content.shape
    return height, width, channels


def refuse_unknown(head: bytes) -> None:
    """Raises DatasetError for a file that begins neither as a zip, npz or tar nor as Parquet."""
    if head.startswith((*ZIP_STARTS, PARQUET_START)) or is_tar(head):
        return
    what = next((text for start, text in OTHERS.items() if head.startswith(start)), None)
    if what is None:
        what = (
            "is no dataset that can be read; bring a zip of class folders, an npz, Parquet or a "
            "WebDataset's tar files"
        )
    raise DatasetError(f"The file {what if head else 'is empty'}.", "unrecognised")
