"""Image files of strangers to pixels: a short list of formats, bounded, whole or refused."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Pillow imports these when they are first needed, which a sandbox can't.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    ExifTags,
    Image,
    ImageOps,
    ImagePalette,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from models.corpus.limits import Limits
from models.errors import DatasetError

FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "PPM")
"""What Pillow may try. What a file is called does not matter, but for its ending."""
ENDINGS: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".pbm")
OTHER_IMAGES: Final = (
    ".tif", ".tiff", ".gif", ".svg", ".psd", ".heic", ".heif", ".avif", ".jp2", ".dcm", ".nii",
    ".exr", ".hdr", ".ico", ".eps", ".fits", ".raw", ".dds", ".jxl",
)  # fmt: skip
"""Images that are not read here; left out silently, they would be missed."""

_DEEP: Final = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_PNG_DEPTH_AT: Final = 24
_ON_ITS_SIDE: Final = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""
_UNREADABLE: Final = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    AttributeError, AssertionError, struct.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip
"""What Pillow raises for files that are damaged on purpose."""


def decoded(content: bytes, name: str, limits: Limits) -> Image.Image:
    """A file as an image in mode L, RGB or RGBA, turned as its EXIF says.

    Grey and two-coloured images become L, palettes and CMYK RGB, anything with transparency RGBA.
    Raises DatasetError for a damaged, animated, 16-bit or too large one; `name` is in its sentence.
    Nothing is decoded before its size is known to be allowed.
    """
    with _opened(content, name, limits) as image:
        is_png = image.format == "PNG"
        image.load()
        found = _plain(_turned(image))
    if is_png:  # the decoder does not mind wrong checksums
        with _opened(content, name, limits) as image:
            image.verify()
    return found


def glance(content: bytes, name: str, limits: Limits) -> tuple[int, int, int]:
    """Height, width and channels that `decoded` would give, from the head of the file."""
    with _opened(content, name, limits) as image:
        width, height = image.size
        channels = 4 if image.has_transparency_data else 1 if image.mode in ("L", "1") else 3
        exif = image.getexif() if "exif" in image.info else {}
        turned = exif.get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
        return (width, height, channels) if turned else (height, width, channels)


@contextmanager
def _opened(content: bytes, name: str, limits: Limits) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata that does not matter here
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check(image, content, name, limits)
                yield image
    except UnidentifiedImageError as error:
        raise DatasetError(
            f"{name!a} is no PNG, JPEG, WebP, BMP or PPM image. Convert it, or take it out.",
            "format-not-allowed",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, limits) from error
    except _UNREADABLE as error:
        raise DatasetError(
            f"{name!a} is a damaged or truncated image. Replace it, or take it out.",
            "damaged-image",
        ) from error


def _check(image: Image.Image, content: bytes, name: str, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.pixels:
        raise _too_large(name, limits)
    if min(width, height) < 1:
        raise DatasetError(f"{name!a} has no pixels. Take it out.", "damaged-image")
    if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
        raise DatasetError(
            f"{name!a} is an animation. Save the frame that is meant as an image of its own.",
            "animated-image",
        )
    deep_png = image.format == "PNG" and content[_PNG_DEPTH_AT : _PNG_DEPTH_AT + 1] == b"\x10"
    if image.mode in _DEEP or deep_png:
        raise DatasetError(
            f"{name!a} has 16 bits or more a channel, and which of them matter only you know. "
            "Convert the images to 8 bits with the range you want.",
            "sixteen-bit-image",
        )


def _plain(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in ("L", "1"):
        return image if image.mode == "L" else image.convert("L")
    return image if image.mode == "RGB" else image.convert("RGB")


def _too_large(name: str, limits: Limits) -> DatasetError:
    return DatasetError(
        f"{name!a} has more than {limits.pixels:,} pixels. Make it smaller.", "image-too-large"
    )


def _turned(image: Image.Image) -> Image.Image:
    """Upright, as its EXIF says; as it lies where that can't be read."""
    try:
        return ImageOps.exif_transpose(image)
    except _UNREADABLE:
        return image.copy()
