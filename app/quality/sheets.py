"""Contact sheets of a report: one strip of samples for each class, as a PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.quality.page import Sheet

IMAGES_A_CLASS = 10
MOST_CLASSES = 100
SMALL_SIDE, LARGE_SIDE = 64, 96
GAP = 2


def sheets(images: Mapping[str, Sequence[NDArray[np.uint8]]]) -> list[Sheet]:
    """A strip for each class that has images: class → uint8 [H, W, C] of 1, 3 or 4 channels."""
    shown = [(name, row[:IMAGES_A_CLASS]) for name, row in images.items() if row]
    return [Sheet(name, _strip(row), len(row)) for name, row in shown[:MOST_CLASSES]]


def _strip(row: Sequence[NDArray[np.uint8]]) -> bytes:
    """Images side by side: small ones enlarged without smoothing, large ones made smaller."""
    pictures = [_picture(image) for image in row]
    width, height = pictures[0].size
    mode = pictures[0].mode
    strip = Image.new(mode, ((width + GAP) * len(pictures) - GAP, height), "white")
    for place, picture in enumerate(pictures):
        strip.paste(picture, (place * (width + GAP), 0))
    file = io.BytesIO()
    strip.save(file, format="PNG")
    return file.getvalue()


def _picture(image: NDArray[np.uint8]) -> Image.Image:
    plane = image[:, :, 0] if image.shape[2] == 1 else image
    picture = Image.fromarray(np.ascontiguousarray(plane))
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("RGB")
    side = max(picture.size)
    if side > LARGE_SIDE:
        picture.thumbnail((LARGE_SIDE, LARGE_SIDE))
        return picture
    scale = max(1, SMALL_SIDE // side)
    size = picture.width * scale, picture.height * scale
    return picture.resize(size, Image.Resampling.NEAREST)
