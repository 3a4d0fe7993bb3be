"""Where an image lies in class folders, and what that says of it: its split, origin and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.datasets.description import Description
from app.datasets.members import METADATA
from app.datasets.names import SYNTHETIC_PREFIX
from app.jobs.merge import REAL, SYNTHETIC, TRAIN
from models.corpus.image_files import ENDINGS


class Place(NamedTuple):
    """What the path of an image says. Origin is `real` or `synthetic`."""

    split: str
    origin: str
    class_name: str


def metadata_of(description: Description) -> Sequence[str]:
    """Where `metadata.jsonl` may be, that Hugging Face `datasets` reads."""
    splits = description.splits
    return [f"{split}/{METADATA}" for split in splits] if len(splits) > 1 else [METADATA]


def folders_of(description: Description) -> Mapping[str, tuple[str, str]]:
    """Folder → split and class."""
    splits = description.splits
    return {
        f"{split}/{directory}" if len(splits) > 1 else directory: (split, name)
        for split in splits
        for name, directory in description.directories.items()
    }


def place_of(
    path: str, description: Description, folders: Mapping[str, tuple[str, str]]
) -> Place | None:
    """None where no image may lie there, or none of that kind."""
    folder, _, name = path.rpartition("/")
    if folder not in folders:
        return None
    split, class_name = folders[folder]
    merged = description.merged is not None
    if merged and not name.startswith(SYNTHETIC_PREFIX):
        return Place(split, REAL, class_name) if name.lower().endswith(ENDINGS) else None
    if split != TRAIN or not name.endswith(f".{description.encoding.extension}"):
        return None
    return Place(split, SYNTHETIC, class_name)
