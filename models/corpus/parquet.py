"""Parquet files as the Hugging Face Hub keeps image datasets: one row an image, its file inside.

A column of images is a struct of `bytes` and `path`, or of bytes alone. The schema's `huggingface`
metadata, where it is there, says which columns are Image and ClassLabel, and the classes' names.
https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from models.corpus.labels import classified, grouped
from models.corpus.limits import Limits
from models.corpus.source import Source, Split, Stored, split_of
from models.corpus.zip_safety import refusal_of
from models.errors import DatasetError
from models.importing.errors import shown

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

ENDING: Final = ".parquet"
IMAGES, LABELS = ("image", "img", "images"), ("label", "labels", "class")
GROUP, SPLIT = "group", "split"
ROWS: Final = 64
"""Images that are in memory at a time."""


class Columns(NamedTuple):
    """Names of the columns, and the classes' names where the file has them."""

    image: str
    label: str
    names: tuple[str, ...] | None
    group: str | None
    split: str | None


class _File(NamedTuple):
    parquet: ParquetFile
    columns: Columns
    splits: list[Split]
    """Of each row."""


def open_parquet(
    files: Mapping[str, BinaryIO], close: Callable[[], None], limits: Limits
) -> Source:
    """Name -> file, one or several. The split is that of a column `split`, else that of the file's
    name or folder (`train-00000-of-00002.parquet`, `test/0.parquet`), else the training split."""
    values: dict[Split, list[Any]] = defaultdict(list)
    group: dict[Split, list[Any]] = defaultdict(list)
    opened: list[_File] = []
    with _readable():
        for name, file in sorted(files.items()):
            opened.append(_opened(name, file, values, group, limits))
    columns = opened[0].columns
    if any(each.columns != columns for each in opened):
        raise DatasetError("The Parquet files have different columns or classes.", "columns")
    classes, labels = classified(values, columns.names)
    groups, places = grouped(group)

    def read(split: Split) -> Iterator[Stored]:
        number = 0
        for each in opened:
            for content, path in _images(each, split, limits):
                safe = path and not refusal_of(path)
                yield Stored(path if safe else f"{split}/{number:08d}", content)
                number += 1

    return Source("parquet", classes, labels, read, close, groups, places)


def _opened(
    name: str,
    file: BinaryIO,
    values: dict[Split, list[Any]],
    group: dict[Split, list[Any]],
    limits: Limits,
) -> _File:
    """A file whose labels and groups are read; they are added to those of the others."""
    from pyarrow import parquet  # large, and needed for this format only

    opened = parquet.ParquetFile(file, pre_buffer=False)
    if opened.metadata.num_rows > limits.images:
        raise DatasetError(f"{name!a} has more rows than images are read.", "too-many-images")
    columns = _columns(opened.schema_arrow)
    wanted = [column for column in (columns.label, columns.group, columns.split) if column]
    usual = next((s for part in name.replace("-", "/").split("/") if (s := split_of(part))), None)
    splits: list[Split] = []
    for batch in opened.iter_batches(4096, columns=wanted, use_threads=False):
        for row in batch.to_pylist():
            split = _split(row[columns.split]) if columns.split else usual or "train"
            splits.append(split)
            values[split].append(row[columns.label])
            group[split].append(row[columns.group] if columns.group else None)
    return _File(opened, columns, splits)


def _split(value: object) -> Split:
    split = split_of(str(value))
    if split is None:
        raise DatasetError(
            f"The column `split` has {str(value)[:100]!a}; use train, validation and test.",
            "columns",
        )
    return split


def _images(file: _File, split: Split, limits: Limits) -> Iterator[tuple[bytes, str]]:
    if split not in file.splits:
        return
    column, position = file.columns.image, 0
    with _readable():
        for batch in file.parquet.iter_batches(ROWS, columns=[column], use_threads=False):
            wanted = file.splits[position : position + len(batch)]
            position += len(batch)
            for place, cell in zip(wanted, batch.column(0).to_pylist(), strict=True):
                if place == split:
                    yield _content(cell, limits)


def _content(cell: Any, limits: Limits) -> tuple[bytes, str]:
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, "")
    if not isinstance(content, bytes):
        raise DatasetError(
            "A row has no image in it, but at best the path of a file. Embed the images' bytes: "
            "datasets' push_to_hub and to_parquet do.",
            "no-image-bytes",
        )
    if len(content) > limits.file_bytes:
        raise DatasetError("An image of the Parquet file is too large.", "file-too-large")
    return content, path if isinstance(path, str) else ""


def _columns(schema: Schema) -> Columns:
    features = _features(schema)
    image = _named(features, "Image") or _first(schema.names, IMAGES)
    label = _named(features, "ClassLabel") or _first(schema.names, LABELS)
    if image is None or label is None or not {image, label} <= set(schema.names):
        raise DatasetError(
            f"The Parquet file needs a column `image` and a column `label`; it has: "
            f"{', '.join(shown(name, 40) for name in schema.names[:20])}.",
            "columns",
        )
    names = features.get(label, {}).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = None
    return Columns(
        image,
        label,
        None if names is None else tuple(names),
        GROUP if GROUP in schema.names else None,
        SPLIT if SPLIT in schema.names else None,
    )


def _features(schema: Schema) -> dict[str, dict[str, Any]]:
    """What `datasets` wrote about the columns; nothing where it did not, or where it is broken."""
    try:
        document = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = document["info"]["features"]
        return {str(name): f for name, f in features.items() if isinstance(f, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _named(features: Mapping[str, Mapping[str, Any]], kind: str) -> str | None:
    return next((name for name, each in features.items() if each.get("_type") == kind), None)


def _first(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, NotImplementedError, KeyError, TypeError) as error:
        reason = shown(str(error).partition("\n")[0], 200).rstrip(".")
        raise DatasetError(f"The Parquet file can't be read: {reason}.", "damaged") from error
