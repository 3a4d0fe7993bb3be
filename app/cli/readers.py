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
from app.datasets.members import DESCRIPTION, METADATA
from app.datasets.unpack import unpack


class Read(NamedTuple):
    """What one reader found: samples by class, each image decoded."""

    reader: str
    samples_per_class: dict[str, int]


Labels = Callable[[Path, Path, Description], Iterator[int | str]]
"""Folder, a place for caches, description → label or class folder of each sample."""


def read_by_readers(path: Path) -> list[Read]:
    """Every reader's count of a folder or archive that was verified.

    Raises CommandError where a reader is not installed, can't read it, or counts otherwise.
    """
    with _unpacked(path) as folder, tempfile.TemporaryDirectory() as cache:
        text = (folder / DESCRIPTION).read_bytes()
        description = Description.model_validate_json(text)
        names = list(_READERS[description.layout])
        if (folder / METADATA).exists():
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
        labels = Counter(_LABELS[name](folder, cache, description))
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
    counts = {class_of.get(label, str(label)): count for label, count in labels.items()}
    wanted = {name: count for name, count in description.samples_per_class.items() if count}
    if counts != wanted:
        raise CommandError(f"{name} counts {counts}, not {wanted}.", ExitCode.UNVERIFIED)
    return Read(name, {name: counts[name] for name in wanted})


def _torchvision(folder: Path, _: Path, __: Description) -> Iterator[int | str]:
    from torchvision.datasets import ImageFolder

    found = ImageFolder(str(folder))
    for _image, label in found:
        yield found.classes[label]


def _datasets(folder: Path, cache: Path, description: Description) -> Iterator[int | str]:
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    for row in load_dataset(str(folder), split="train", cache_dir=str(cache)):
        assert row["image"].size == (description.image.width, description.image.height)
        yield int(row["label"])


def _webdataset(folder: Path, _: Path, description: Description) -> Iterator[int | str]:
    import webdataset

    urls = sorted(str(path) for path in folder.glob("*.tar"))
    images = description.encoding.extension
    read = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode("pil")
    for _image, label in read.to_tuple(images, "cls"):
        yield int(label)


def _numpy(folder: Path, _: Path, description: Description) -> Iterator[int | str]:
    import numpy as np

    images = np.load(folder / "images.npy", mmap_mode="r")
    labels = np.load(folder / "labels.npy")
    shape = description.image
    if images.shape != (len(labels), shape.height, shape.width, shape.channels):
        raise ValueError(f"{len(labels)} labels, and images of shape {images.shape}")
    yield from labels.tolist()


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
