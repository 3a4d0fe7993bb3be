"""A dataset before its images are read: which format it has, its classes, splits and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from models.corpus.limits import Limits
from models.corpus.preprocessing import Pixels
from models.errors import DatasetError

Split = Literal["train", "validation", "test"]
Labels = npt.NDArray[np.int64]
Kind = Literal["class-folders", "imagefolder", "npz", "parquet", "idx", "webdataset"]

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")
SYNONYMS: Final[Mapping[str, Split]] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split is called, in any case of letters."""
CLASS_NAME_CHARACTERS: Final = 255


class Item(NamedTuple):
    """One image as the dataset has it.

    name: its path in the dataset, or one that is made of its number. content: the bytes of its
    file, as they are, or uint8 [H, W, C] where the dataset has no image files. group: -1 without.
    """

    name: str
    split: Split
    label: int
    group: int
    content: bytes | Pixels


class Stored(NamedTuple):
    """Name and content of one image, in the order of the labels of its split."""

    name: str
    content: bytes | Pixels


@dataclass
class Source:
    """Classes and labels are known, images are read when they are asked for. Closed with `with`.

    labels: of each image of a split, below len(classes), in the order of `items`; splits without
    images are left out. group: the same for `groups`, -1 where unknown; empty without groups.
    ignored: files that are no images, such as a licence. read: the images of a split, in order.
    """

    kind: Kind
    classes: tuple[str, ...]
    labels: Mapping[Split, Labels]
    read: Callable[[Split], Iterator[Stored]]
    close: Callable[[], None]
    groups: tuple[str, ...] = ()
    group: Mapping[Split, Labels] = field(default_factory=dict)
    ignored: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits that have images, training first."""
        return tuple(split for split in SPLITS if split in self.labels)

    def __len__(self) -> int:
        return sum(len(labels) for labels in self.labels.values())

    def counts(self, split: Split) -> Labels:
        """int64 [len(classes)]: images of each class in a split."""
        return np.bincount(self.labels[split], minlength=len(self.classes)).astype(np.int64)

    def items(self, split: Split | None = None) -> Iterator[Item]:
        """The images of a split, or of all, one after the other; nothing is kept in memory."""
        for each in self.splits if split is None else (split,):
            labels = self.labels[each]
            group = self.group.get(each)
            for position, stored in enumerate(self.read(each)):
                place = -1 if group is None else int(group[position])
                yield Item(stored.name, each, int(labels[position]), place, stored.content)


def checked(source: Source, limits: Limits) -> Source:
    """The source, unless its classes or labels can't be used. Raises DatasetError and closes it."""
    try:
        _check_classes(source.classes, limits)
        if len(source) == 0:
            raise DatasetError("The dataset has no images.", "no-images")
        if len(source) > limits.images:
            raise DatasetError(
                f"The dataset has {len(source):,} images, and at most {limits.images:,} are read. "
                "Bring a part of it.",
                "too-many-images",
            )
        _check_filled(source)
    except BaseException:
        source.close()
        raise
    return source


def split_of(name: str) -> Split | None:
    """The split that a folder or column of this name holds; None where it is no such name."""
    return SYNONYMS.get(name.lower())


def _check_classes(classes: tuple[str, ...], limits: Limits) -> None:
    if len(classes) > limits.classes:
        raise DatasetError(
            f"The dataset has {len(classes):,} classes, and at most {limits.classes:,} are read. "
            "Is the label column another one?",
            "too-many-classes",
        )
    for name in classes:
        if not 0 < len(name) <= CLASS_NAME_CHARACTERS or not name.isprintable():
            raise DatasetError(
                f"{name[:100]!a} can't be the name of a class: use 1 to {CLASS_NAME_CHARACTERS} "
                "printable characters.",
                "class-name",
            )
    twins = [name for name, count in Counter(n.casefold() for n in classes).items() if count > 1]
    if twins:
        raise DatasetError(
            f"Two classes are called {twins[0][:100]!a}, but for upper and lower case. Rename one.",
            "class-name",
        )


def _check_filled(source: Source) -> None:
    """Every class has an image to learn from: in the training split, where there is one."""
    split = source.splits[0]
    empty = np.flatnonzero(source.counts(split) == 0)
    if len(empty):
        names = ", ".join(f"{source.classes[label][:100]!a}" for label in empty[:10])
        raise DatasetError(
            f"Classes without an image in the {split} split: {names}. Add images, or take the "
            "class out; labels are counted from 0.",
            "empty-class",
        )
