"""Labels as files have them, names or numbers, to classes and int64."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.corpus.source import Labels, Split
from models.errors import DatasetError

Column = Sequence[Any] | npt.NDArray[Any]


def classified(
    values: Mapping[Split, Column], names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], dict[Split, Labels]]:
    """Labels of each split -> classes, and int64 labels of each split.

    Names of classes are sorted, numbers that are written as text by their value. Integers are
    places in `names`; without names they are named by themselves, 0 to the largest. Splits
    without labels are left out. Raises DatasetError for labels that are neither, or out of range.
    """
    filled = {split: column for split, column in values.items() if len(column)}
    kinds = {kind for column in filled.values() for kind in _kinds(column)}
    if kinds == {str}:
        return _named(filled, names)
    if kinds == {int}:
        return _numbered(filled, names)
    if not kinds:
        raise DatasetError("The dataset has no images.", "no-images")
    raise DatasetError(
        "Labels must be names or whole numbers, one for each image, and none may be missing.",
        "labels",
    )


def grouped(
    values: Mapping[Split, Column],
) -> tuple[tuple[str, ...], dict[Split, Labels]]:
    """Groups of each split -> their sorted names, and int64 places; -1 where there is none."""
    texts = {split: [_group(value) for value in column] for split, column in values.items()}
    names = _sorted({text for column in texts.values() for text in column if text is not None})
    if not names:
        return (), {}
    place = {name: index for index, name in enumerate(names)}
    return names, {
        split: np.array([-1 if text is None else place[text] for text in column], np.int64)
        for split, column in texts.items()
        if column
    }


def _kinds(column: Column) -> set[type]:
    if isinstance(column, np.ndarray):
        return {{"U": str, "i": int, "u": int}.get(column.dtype.kind, type(None))}
    return {type(value) for value in column}


def _named(
    values: Mapping[Split, Column], names: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[Split, Labels]]:
    found = {str(name) for column in values.values() for name in set(column)}
    classes = tuple(names) if names is not None else _sorted(found)
    place = {name: index for index, name in enumerate(classes)}
    if strange := sorted(found - place.keys()):
        raise DatasetError(
            f"The label {strange[0][:100]!a} is none of the classes that the dataset names.",
            "label-out-of-range",
        )
    return classes, {
        split: np.array([place[str(name)] for name in column], np.int64)
        for split, column in values.items()
    }


def _numbered(
    values: Mapping[Split, Column], names: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[Split, Labels]]:
    try:
        labels = {split: np.asarray(column).astype(np.int64) for split, column in values.items()}
    except OverflowError as error:
        raise DatasetError("A label is no number of a class.", "label-out-of-range") from error
    lowest = min(int(column.min()) for column in labels.values())
    highest = max(int(column.max()) for column in labels.values())
    count = len(names) if names is not None else highest + 1
    if lowest < 0 or highest >= count:
        strange = lowest if lowest < 0 else highest
        raise DatasetError(
            f"The label {strange} is out of range: labels are 0 to {count - 1}, the places of "
            "the classes.",
            "label-out-of-range",
        )
    if names is None and count > sum(len(column) for column in labels.values()):
        raise DatasetError(
            f"Labels go up to {highest}, but there are not so many images. Number the classes "
            "from 0 without gaps.",
            "empty-class",
        )
    return tuple(names) if names is not None else tuple(map(str, range(count))), labels


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    """By code point, as torchvision sorts folders; by value where all are numbers."""
    every = list(names)
    numbers = all(name.isascii() and name.isdigit() and len(name) < 10 for name in every)
    return tuple(sorted(every, key=lambda name: (int(name), name) if numbers else (0, name)))


def _group(value: Any) -> str | None:
    """A group's name; None where the cell is empty."""
    if value is None or value != value:  # NaN
        return None
    text = str(value).strip()
    return text or None
