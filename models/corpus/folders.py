"""Folders of image files: one for each class, or with a metadata file that has the labels."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from models.corpus.container import Container, content
from models.corpus.described import Described
from models.corpus.labels import classified, grouped
from models.corpus.layout import image_paths, places
from models.corpus.limits import Limits
from models.corpus.source import SPLITS, Source, Split, Stored, split_of
from models.errors import DatasetError
from models.importing.errors import shown

METADATA: Final = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_NAME, LABEL, GROUP = "file_name", "label", "group"


def open_class_folders(
    container: Container, paths: Sequence[str], limits: Limits, known: Described | None = None
) -> Source:
    """Class folders, with or without a level of splits above them. Classes are sorted by name.

    Archives that this project has made say in `dataset.json` which class a folder stands for.
    """
    images = image_paths(paths)
    if not images:
        raise DatasetError(
            "There are no images in the dataset. Give each class a folder of PNG, JPEG, WebP, BMP "
            "or PPM files, or bring an npz or Parquet.",
            "no-images",
        )
    found = places(images)
    folders = sorted({place.class_name for place in found})
    named = known.folders if known is not None else {}
    if set(folders) <= named.keys():
        folders = [folder for folder in named if folder in set(folders)]
    position = {folder: label for label, folder in enumerate(folders)}
    files = {s: [place for place in found if place.split == s] for s in SPLITS}
    return Source(
        kind="class-folders",
        classes=tuple(named.get(folder, folder) for folder in folders),
        labels={
            split: np.array([position[place.class_name] for place in members], np.int64)
            for split, members in files.items()
            if members
        },
        read=_reader(container, {s: [p.path for p in each] for s, each in files.items()}, limits),
        close=container.close,
        ignored=len(paths) - len(images),
    )


class _Row(NamedTuple):
    path: str
    split: Split
    label: Any
    group: Any


def open_metadata(
    container: Container, paths: Sequence[str], limits: Limits, names: Sequence[str] | None = None
) -> Source:
    """Hugging Face ImageFolder: `metadata.csv`, `.jsonl` or `.parquet` beside the images.

    Columns: file_name (relative to the metadata file), label, and group where there is one. Images
    that no row names are left out. The split is that of a folder on the way to the image. names: of
    the classes, in the order of their numbers, where that is known.
    """
    metadata = [path for path in paths if posixpath.basename(path) in METADATA]
    if len({posixpath.splitext(path)[1] for path in metadata}) > 1:
        raise DatasetError("Metadata files are of several kinds. Keep one of them.", "metadata")
    known = set(paths)
    every = [row for path in metadata for row in _rows_of(container, path, known, limits)]
    rows = {split: [row for row in every if row.split == split] for split in SPLITS}
    classes, labels = classified(
        {s: [row.label for row in each] for s, each in rows.items()}, names
    )
    groups, group = grouped({s: [row.group for row in each] for s, each in rows.items()})
    return Source(
        kind="imagefolder",
        classes=classes,
        labels=labels,
        read=_reader(container, {s: [row.path for row in r] for s, r in rows.items()}, limits),
        close=container.close,
        groups=groups,
        group=group,
        ignored=len(paths) - len(every) - len(metadata),
    )


def _reader(
    container: Container, files: Mapping[Split, Sequence[str]], limits: Limits
) -> Callable[[Split], Iterator[Stored]]:
    def read(split: Split) -> Iterator[Stored]:
        for path in files[split]:
            yield Stored(path, content(container, path, limits))

    return read


def _rows_of(container: Container, path: str, known: set[str], limits: Limits) -> Iterator[_Row]:
    folder = posixpath.dirname(path)
    for number, row in enumerate(_records(path, content(container, path, limits)), 1):
        name, label = row.get(FILE_NAME), row.get(LABEL)
        if not isinstance(name, str) or LABEL not in row:
            raise DatasetError(
                f"{path!a} has no {FILE_NAME if name is None else LABEL} in row {number}. Each row "
                f"needs the columns {FILE_NAME} and {LABEL}.",
                "metadata",
            )
        image = posixpath.normpath(posixpath.join(folder, name))
        if image not in known or ".." in name.split("/"):
            raise DatasetError(
                f"{path!a} names {name[:200]!a} in row {number}, which is not there.", "metadata"
            )
        splits = [split for part in image.split("/")[:-1] if (split := split_of(part))]
        yield _Row(image, splits[0] if splits else "train", label, row.get(GROUP))


def _records(path: str, data: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        if path.endswith(".parquet"):
            yield from _parquet_records(io.BytesIO(data))
        elif path.endswith(".csv"):
            yield from csv.DictReader(io.StringIO(data.decode("utf-8-sig")), strict=True)
        else:
            for line in data.decode("utf-8-sig").split("\n"):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("a line is no object")
                    yield row
    except (ValueError, csv.Error, RecursionError, OSError, NotImplementedError) as error:
        reason = shown(str(error), 200)
        raise DatasetError(f"{path!a} can't be read: {reason}.", "metadata") from error


def _parquet_records(file: BinaryIO) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet  # large, and seldom needed

    table = parquet.ParquetFile(file, pre_buffer=False)
    columns = [name for name in (FILE_NAME, LABEL, GROUP) if name in table.schema_arrow.names]
    for batch in table.iter_batches(1024, columns=columns, use_threads=False):
        yield from batch.to_pylist()
