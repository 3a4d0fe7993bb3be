"""From an image of any size and mode to pixels of one shape, with Pillow's own resampling."""

from __future__ import annotations

from typing import Final, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from models.spec import ImageShape

Pixels = npt.NDArray[np.uint8]
Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}
BACKGROUND: Final = (255, 255, 255, 255)
"""What shines through where an image is transparent and its alpha channel is not wanted."""


class Preprocessing(ImageShape):
    """How the images of a dataset become uint8 [height, width, channels]; kept in a model's spec.

    fit: an image of another aspect ratio is cropped about its middle ("crop"), made smaller until
    it fits between black bars ("pad"), or distorted ("stretch"). resample: Pillow's filter, which
    is antialiased when an image gets smaller; an image that has the size already is not touched.

    channels: 1 is grey (ITU-R 601-2 luma of a coloured image), 3 is RGB (a grey image three
    times), 4 is RGBA. For 1 and 3 a transparent image is laid on white first.

    Values stay 0 ... 255 here. What a network makes of them is its spec's `value_range`, which is
    linear and undone exactly when pixels are drawn.
    """

    fit: Literal["crop", "pad", "stretch"] = "crop"
    resample: Resample = "lanczos"

    def apply(self, image: Image.Image) -> Pixels:
        """An image in mode L, RGB or RGBA -> uint8 [height, width, channels]."""
        image = in_mode(image, self.channels)
        size = (self.width, self.height)
        if image.size != size:
            image = self._resized(image, size)
        return pixels_of(image)

    def apply_to(self, pixels: Pixels) -> Pixels:
        """The same of uint8 [H, W, 1, 3 or 4]."""
        if pixels.shape == (self.height, self.width, self.channels):
            return pixels
        return self.apply(image_of(pixels))

    def _resized(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        method = Image.Resampling[self.resample.upper()]
        match self.fit:
            case "crop":
                return ImageOps.fit(image, size, method)
            case "pad":
                return ImageOps.pad(image, size, method)
            case "stretch":
                return image.resize(size, method)


def in_mode(image: Image.Image, channels: int) -> Image.Image:
    """The image with 1, 3 or 4 channels."""
    if image.mode == "RGBA" and channels != 4:
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def image_of(pixels: Pixels) -> Image.Image:
    """uint8 [H, W, 1, 3 or 4] as an image in mode L, RGB or RGBA."""
    plane = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(plane))


def pixels_of(image: Image.Image) -> Pixels:
    """An image in mode L, RGB or RGBA as uint8 [H, W, 1, 3 or 4]."""
    pixels = np.asarray(image)
    return cast(Pixels, pixels.reshape(*pixels.shape[:2], -1))
