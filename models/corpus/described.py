"""Archives of this project say in `dataset.json` what their classes are called."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from models.corpus.container import Container, content
from models.corpus.limits import Limits
from models.corpus.source import Source

DESCRIPTION, FORMAT = "dataset.json", "synthloom-dataset/"
BESIDE: Final = ("SHA256SUMS", "ATTRIBUTION.md", DESCRIPTION)
"""What lies beside the arrays of such an archive."""


class Described(NamedTuple):
    """Folder -> class, in the order of labels."""

    folders: Mapping[str, str]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return tuple(self.folders.values())


def described(container: Container, paths: Sequence[str], limits: Limits) -> Described | None:
    """What `dataset.json` says; None where there is none of this project."""
    path = next((path for path in paths if posixpath.basename(path) == DESCRIPTION), None)
    try:
        document = json.loads(content(container, path, limits)) if path else {}
        made = str(document["format"]).startswith(FORMAT)
        folders = {str(folder): str(name) for name, folder in document["directories"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Described(folders) if made else None


def without_empty(source: Source) -> Source:
    """The same without the classes of which nothing was asked for: their model knew them."""
    filled = np.zeros(len(source.classes), np.bool_)
    for labels in source.labels.values():
        filled[labels] = True
    place = np.cumsum(filled) - 1
    return replace(
        source,
        classes=tuple(name for name, here in zip(source.classes, filled, strict=True) if here),
        labels={split: place[labels].astype(np.int64) for split, labels in source.labels.items()},
    )
