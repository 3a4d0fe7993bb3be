"""What real images are called in the archives of a job that they are merged with.

They keep the name of their file. Samples have names that begin with `synthetic-`, so neither can
take the other's place; real files that would, or that have the name of another one of their class,
get their number in front.
"""

from __future__ import annotations

import posixpath
import unicodedata
from dataclasses import dataclass, field

from app.datasets.manifest import Layout
from app.datasets.names import SYNTHETIC_PREFIX
from models.corpus.source import Item

READABLE = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".webp")
"""Endings by which torchvision's ImageFolder knows an image."""
_STARTS = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8", ".jpg"),
    (b"RIFF", ".webp"),
    (b"BM", ".bmp"),
)
_OTHER = ".ppm"
"""Portable maps of all kinds are told by their content, and this ending is read everywhere."""


@dataclass
class RealNames:
    """Gives every real image its path; one after the other, always in the same order."""

    layout: Layout
    _taken: set[str] = field(default_factory=set)

    def of(self, item: Item, label: int, number: int) -> str:
        """`<split>/<class folder>/<name>`, without the split where there is only one.

        label: of the merged dataset. number: of the image, among all real ones.
        """
        folder = self.layout.folder_of(label, item.split)
        name = posixpath.basename(item.name)
        stem, ending = posixpath.splitext(name)
        if ending.lower() not in READABLE:
            name = f"{stem}{_ending_of(item)}"
        if name.startswith((SYNTHETIC_PREFIX, ".")) or self._is_taken(f"{folder}/{name}"):
            name = f"real-{number:08d}-{name.lstrip('.')}"
        while self._is_taken(f"{folder}/{name}"):
            name = f"real-{name}"
        self._taken.add(_key(f"{folder}/{name}"))
        return f"{folder}/{name}"

    def _is_taken(self, path: str) -> bool:
        return _key(path) in self._taken


def _key(path: str) -> str:
    """Equal for names that are one on some disk."""
    return unicodedata.normalize("NFC", path).casefold()


def _ending_of(item: Item) -> str:
    content = item.content
    if not isinstance(content, bytes):
        return ".png"  # an array, which becomes one
    return next((ending for start, ending in _STARTS if content.startswith(start)), _OTHER)
