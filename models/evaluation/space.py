"""Where distances of copies are taken: the pixels, averaged down to a size. Imports no torch."""

from __future__ import annotations

from typing import Final

from models.spec import ImageShape

SIDE: Final = 32
"""Longest side of an image in that space."""


def reduced(image: ImageShape, side: int = SIDE) -> ImageShape:
    """The size of an image scaled down, as a whole, to at most `side` a side."""
    scale = min(1.0, side / max(image.height, image.width))
    height, width = max(1, round(image.height * scale)), max(1, round(image.width * scale))
    return image.model_copy(update={"height": height, "width": width})


def name_of(shape: ImageShape) -> str:
    """What the space of images that were reduced to this shape is called."""
    return f"pixels {shape.height}x{shape.width}"
