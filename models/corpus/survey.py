"""Every image of a dataset looked at once: counts, sizes, a hash of the content, some to show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import numpy as np
from PIL import Image

from models.corpus.limits import DEFAULT, Limits
from models.corpus.preprocessing import Pixels, image_of, in_mode, pixels_of
from models.corpus.read import native_pixels
from models.corpus.source import Item, Kind, Source, Split
from models.spec import Frozen, Sha256

SHOWN_A_CLASS: Final = 8
SHOWN_CLASSES: Final = 24
SHOWN_SIDE: Final = 64


class Size(Frozen):
    """Pixels of an image."""

    height: int
    width: int


class Survey(Frozen):
    """What a dataset is.

    counts: of each split, images by the place of their class. groups: of each group, images; None
    for those of no group. smallest, largest: the least and greatest heights and widths. channels:
    those of the richest image. ignored: files that are no images.

    sha256: of the pixels, classes, groups and splits, image by image. Neither the format that the
    dataset came in nor the names of its files change it, nor does lossless compression.
    """

    kind: Kind
    classes: tuple[str, ...]
    counts: dict[Split, tuple[int, ...]]
    groups: dict[str, int]
    smallest: Size
    largest: Size
    channels: int
    sha256: Sha256
    ignored: int


class Surveyor:
    """Takes the images of a source one by one; memory does not grow with them."""

    def __init__(self, source: Source, limits: Limits = DEFAULT) -> None:
        self._source, self._limits = source, limits
        self._digest = hashlib.sha256(repr((1, source.classes, source.groups)).encode())
        self._heights: list[int] = []
        self._widths: list[int] = []
        self._channels = 0
        self.shown: dict[int, list[Pixels]] = {}
        """Of the first classes the first images, small: uint8 [H, W, 1 or 3]."""

    def survey(self) -> Survey:
        """Decode every image. Raises DatasetError for the first that can't be used."""
        for item in self._source.items():
            self._take(item, native_pixels(item, self._limits))
        source = self._source
        return Survey(
            kind=source.kind,
            classes=source.classes,
            counts={s: tuple(source.counts(s).tolist()) for s in source.splits},
            groups=_group_counts(source),
            smallest=Size(height=min(self._heights), width=min(self._widths)),
            largest=Size(height=max(self._heights), width=max(self._widths)),
            channels=self._channels,
            sha256=self._digest.hexdigest(),
            ignored=source.ignored,
        )

    def _take(self, item: Item, pixels: Pixels) -> None:
        height, width, channels = pixels.shape
        self._heights = _ends([*self._heights, height])
        self._widths = _ends([*self._widths, width])
        self._channels = max(self._channels, channels)
        head = (item.split, item.label, item.group, height, width, channels)
        self._digest.update(repr(head).encode())
        self._digest.update(np.ascontiguousarray(pixels).data)
        if item.label < SHOWN_CLASSES:
            shown = self.shown.setdefault(item.label, [])
            if len(shown) < SHOWN_A_CLASS:
                shown.append(_small(pixels))


def _ends(values: Iterable[int]) -> list[int]:
    every = list(values)
    return [min(every), max(every)]


def _small(pixels: Pixels) -> Pixels:
    image = in_mode(image_of(pixels), 1 if pixels.shape[2] == 1 else 3)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    return pixels_of(image)


def _group_counts(source: Source) -> dict[str, int]:
    counts = np.zeros(len(source.groups), np.int64)
    for places in source.group.values():
        counts += np.bincount(places[places >= 0], minlength=len(source.groups))
    return dict(zip(source.groups, counts.tolist(), strict=True))
