"""A dataset by what it is trained with: torchvision, `datasets`, `webdataset`, numpy."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from app.cli.failures import CommandError, ExitCode
from app.datasets.description import Description
from app.datasets.members import DESCRIPTION
from app.datasets.places import folders_of, metadata_of, place_of
from app.datasets.unpack import unpack


class Read(NamedTuple):
    """What one reader found: samples by class, each image decoded.

    real: split → class → images, of a dataset that is merged with a real one.
    """

    reader: str
    samples_per_class: dict[str, int]
    real: dict[str, dict[str, int]]


Found = tuple[str, str, int | str]
"""Split, origin, label or class folder."""
Labels = Callable[[Path, Path, Description], Iterator[Found]]
"""Folder, a place for caches, description → what is said of each image."""


def read_by_readers(path: Path) -> list[Read]:
    """Every reader's count of a folder or archive that was verified.

    Raises CommandError where a reader is not installed, can't read it, or counts otherwise.
    """
    with _unpacked(path) as folder, tempfile.TemporaryDirectory() as cache:
        text = (folder / DESCRIPTION).read_bytes()
        description = Description.model_validate_json(text)
        names = list(_READERS[description.layout])
        if any((folder / place).exists() for place in metadata_of(description)):
            names.append("datasets")
        return [_read(name, folder, Path(cache), description) for name in names]


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as place:
        unpack(path, Path(place) / "dataset")
        yield Path(place) / "dataset"


def _read(name: str, folder: Path, cache: Path, description: Description) -> Read:
    try:
        found = Counter(_LABELS[name](folder, cache, description))
    except ImportError as error:
        raise CommandError(
            f"{name} is not installed; pip install 'synthloom[readers]' brings every reader.",
            ExitCode.USAGE,
        ) from error
    except Exception as error:  # whatever a stranger's reader raises is its verdict
        raise CommandError(f"{name} can't read it: {error}", ExitCode.UNVERIFIED) from error
    classes = list(description.directories)
    class_of: dict[int | str, str] = {
        **dict(enumerate(classes)),
        **{folder: class_name for class_name, folder in description.directories.items()},
    }
    counts = {
        (split, origin, class_of.get(label, str(label))): count
        for (split, origin, label), count in found.items()
    }
    wanted = description.counts()
    if counts != wanted:
        differ = {
            key for key in counts.keys() | wanted.keys() if counts.get(key) != wanted.get(key)
        }
        first = min(differ)
        raise CommandError(
            f"{name} counts {counts.get(first, 0)} images of {' '.join(first)}, not "
            f"{wanted.get(first, 0)}.",
            ExitCode.UNVERIFIED,
        )
    read = Read(name, {}, {})
    for (split, origin, class_name), count in wanted.items():
        drawn = origin == description.origin(None)
        kind = read.samples_per_class if drawn else read.real.setdefault(split, {})
        kind[class_name] = count
    return read


def _torchvision(folder: Path, _: Path, description: Description) -> Iterator[Found]:
    from torchvision.datasets import ImageFolder

    splits, folders = description.splits, folders_of(description)
    for split in splits:
        found = ImageFolder(str(folder / split if len(splits) > 1 else folder))
        for (path, _label), (_image, label) in zip(found.samples, found, strict=True):
            place = place_of(Path(path).relative_to(folder).as_posix(), description, folders)
            if place is None:
                raise ValueError(f"{path} is no image of the dataset")
            yield split, place.origin, found.classes[label]


def _datasets(folder: Path, cache: Path, description: Description) -> Iterator[Found]:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    for split, rows in load_dataset(str(folder), cache_dir=str(cache)).items():
        for row in rows:
            assert row["image"].size == (description.image.width, description.image.height)
            assert row.get("split", split) == split
            yield split, description.origin(row.get("origin")), int(row["label"])


def _webdataset(folder: Path, _: Path, description: Description) -> Iterator[Found]:
    import webdataset

    images = description.encoding.extension
    for split in description.splits:
        urls = sorted(str(path) for path in folder.glob(f"{split}-*.tar"))
        read = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode("pil")
        for _image, label, facts in read.to_tuple(images, "cls", "json"):
            yield split, description.origin(facts.get("origin")), int(label)


def _numpy(folder: Path, _: Path, description: Description) -> Iterator[Found]:
    import numpy as np

    splits = description.splits
    for split in splits:
        start = f"{_PREFIXES[split]}_" if len(splits) > 1 else ""
        images = np.load(folder / f"{start}images.npy", mmap_mode="r")
        labels = np.load(folder / f"{start}labels.npy").tolist()
        shape = description.image
        if images.shape != (len(labels), shape.height, shape.width, shape.channels):
            raise ValueError(f"{len(labels)} labels, and images of shape {images.shape}")
        merged = description.merged is not None
        origins = np.load(folder / f"{start}origin.npy").tolist() if merged else []
        for label, origin in zip(labels, origins or [None] * len(labels), strict=True):
            yield split, description.origin(origin), label


_PREFIXES = {"train": "train", "validation": "val", "test": "test"}

_READERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "imagefolder": ("torchvision",),
        "webdataset": ("webdataset",),
        "parquet": ("datasets",),
        "npz": ("numpy",),
    }
)

_LABELS: Mapping[str, Labels] = MappingProxyType(
    {
        "torchvision": _torchvision,
        "datasets": _datasets,
        "webdataset": _webdataset,
        "numpy": _numpy,
    }
)
