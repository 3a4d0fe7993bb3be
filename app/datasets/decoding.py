"""Image files back to pixels, and whether a file is what it should be."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.datasets import png
from app.datasets.members import DamagedError
from app.jobs.encoding import Encoding

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"


class Shape(Protocol):
    """The size that an image must have."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def channels(self) -> int:
        """1, 3 or 4."""


def decode(payload: bytes, encoding: Encoding, expected: Shape) -> NDArray[np.uint8]:
    """uint8 [H, W, C]: what a reader sees, as many channels as expected.

    `DamagedError` when the file is broken, of another format, size or mode, or goes on behind
    the image. Nothing is decoded before its size is known to be right.
    """
    name = encoding.format.upper()
    modes = encoding.modes.get(expected.channels, ())
    try:
        with Image.open(io.BytesIO(payload), formats=(name,)) as image:
            size, mode = image.size, image.mode
            if size == (expected.width, expected.height) and mode in modes:
                image.load()
                if not _ends(payload, encoding):
                    raise DamagedError(f"does not end where a {name} image ends")
                return _channels(np.asarray(image), encoding, expected.channels)
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise DamagedError(f"is not a {name} image that can be decoded") from error
    raise DamagedError(
        f"is {size[0]} x {size[1]} {mode}, not {expected.width} x {expected.height} "
        f"{modes[0] if modes else f'with {expected.channels} channels'}"
    )


def decode_all(files: Sequence[bytes], encoding: Encoding, expected: Shape) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C] of files of one size: as `decode`, at once where we wrote them."""
    if encoding.format == "png":
        pixels = png.decode_batch(files, (expected.height, expected.width, expected.channels))
        if pixels is not None:
            return pixels
    return np.stack([decode(file, encoding, expected) for file in files])


def _ends(payload: bytes, encoding: Encoding) -> bool:
    match encoding.format:
        case "png":
            return payload.endswith(_PNG_END)
        case "jpeg":
            return payload.endswith(_JPEG_END)
        case "webp":  # a RIFF file says its length, without the first eight bytes
            return len(payload) == 8 + int.from_bytes(payload[4:8], "little")


def _channels(pixels: NDArray[np.uint8], encoding: Encoding, wanted: int) -> NDArray[np.uint8]:
    """Undoes what a format did to the channels: grey as RGB, opaque RGBA as RGB."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    found = pixels.shape[2]
    if wanted == 1 and found == 3:
        if encoding.lossless and (pixels != pixels[..., :1]).any():
            raise DamagedError("is not grey")
        return pixels[..., :1]
    if wanted == 4 and found == 3:
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        return np.concatenate([pixels, opaque], axis=2)
    return pixels
