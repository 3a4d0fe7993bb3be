"""What the folders around image files mean: a wrapper, a split, a class. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from models.corpus.image_files import ENDINGS, OTHER_IMAGES
from models.corpus.source import Split, split_of
from models.errors import DatasetError

CLUTTER: Final = ("thumbs.db", "desktop.ini", "icon\r", "__macosx")
"""What systems leave in folders, in lower case; names that begin with a full stop are too."""


class Place(NamedTuple):
    """An image file: its path, and the split and class that its folders say."""

    path: str
    split: Split
    class_name: str


def is_clutter(path: str) -> bool:
    """Whether a system left this file, or it lies in a folder that one did."""
    return any(part.startswith(".") or part.lower() in CLUTTER for part in path.split("/"))


def image_paths(paths: Iterable[str]) -> list[str]:
    """Those that end as images do. Raises DatasetError for images that are not read here."""
    found = []
    for path in paths:
        lower = path.lower()
        if lower.endswith(ENDINGS):
            found.append(path)
        elif lower.endswith(OTHER_IMAGES):
            raise DatasetError(
                f"{path[:200]!a} is an image of a kind that is not read. Convert it to PNG.",
                "format-not-allowed",
            )
    return found


def places(paths: Sequence[str]) -> list[Place]:
    """Split and class of each image.

    Folders that hold everything are passed over. Then come splits, if all folders have the name of
    one, and then a folder for each class; what lies deeper belongs to the class, as torchvision's
    ImageFolder has it. Raises DatasetError for images that are in no folder.
    """
    skip = _wrappers(paths)
    rests = [path.split("/")[skip:] for path in paths]
    splits = _splits(rests)
    found = []
    for path, rest in zip(paths, rests, strict=True):
        split = splits[rest[0]] if splits else "train"
        inner = rest[1:] if splits else rest
        if len(inner) < 2:
            raise DatasetError(
                f"{path[:200]!a} is in no folder that says its class. Give each class a folder: "
                "train/cat/1.png, or cat/1.png; or add a metadata.csv with file_name and label.",
                "layout",
            )
        found.append(Place(path, split, inner[0]))
    return found


def _wrappers(paths: Sequence[str]) -> int:
    """How many folders at the top hold everything and have a folder below them for each image."""
    parts = [path.split("/") for path in paths]
    skip = 0
    while all(len(each) > skip + 2 for each in parts):
        first = parts[0][skip]
        if split_of(first) or any(each[skip] != first for each in parts):
            break
        skip += 1
    return skip


def _splits(rests: Sequence[Sequence[str]]) -> Mapping[str, Split]:
    """Folder -> split, where the top folders are splits; empty where they are classes."""
    tops = {rest[0]: split_of(rest[0]) for rest in rests if len(rest) > 1}
    named = {top: split for top, split in tops.items() if split is not None}
    if not named:
        return {}
    if len(named) == len(tops) and all(len(rest) > 2 for rest in rests):
        if len(set(named.values())) < len(named):
            raise DatasetError(
                f"The folders {', '.join(sorted(named))} are names of the same split. Put their "
                "images into one.",
                "layout",
            )
        return named
    for top in named:
        if all(len(rest) > 2 for rest in rests if rest[0] == top):
            raise DatasetError(
                f"The folder {top!a} looks like a split, but others beside it do not. Put every "
                "class into a split (train, validation, test), or none.",
                "layout",
            )
    return {}
