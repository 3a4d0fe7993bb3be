"""JPEG files by simplejpeg (libjpeg-turbo)."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import simplejpeg
from numpy.typing import NDArray

_COLOUR_SPACES = {1: "GRAY", 3: "RGB"}
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""What such a segment begins with (ISO 16684-3)."""
_START_BYTES = 4
"""Two markers: the image's start, and APP0 with its length behind it."""


def encoder_name() -> str:
    """Encoder and version: part of the plan, because equal bytes need an equal encoder."""
    return f"jpeg/1 simplejpeg({version('simplejpeg')})/444"


def encode_batch(
    pixels: NDArray[np.uint8], packets: NDArray[np.uint8] | None = None, *, quality: int
) -> list[bytes]:
    """One JPEG file for each image of uint8 [N,H,W,C], C of 1 or 3; quality 1 … 100.

    packets: uint8 [N, bytes], the XMP packet of each. Colours keep their full resolution:
    subsampling would smear images of a few dozen pixels. The accurate DCT gives equal bytes with
    and without SIMD, which libjpeg-turbo does not promise of the fast one. Raises KeyError for
    other channels.
    """
    colours = _COLOUR_SPACES[pixels.shape[3]]
    files = [
        simplejpeg.encode_jpeg(
            image, quality=quality, colorspace=colours, colorsubsampling="444", fastdct=False
        )
        for image in np.ascontiguousarray(pixels)
    ]
    if packets is None:
        return files
    return [_marked(file, packet.tobytes()) for file, packet in zip(files, packets, strict=True)]


def _marked(file: bytes, packet: bytes) -> bytes:
    """The file with the packet in an APP1 segment, behind the JFIF header that must come first."""
    body = _XMP + packet
    at = _START_BYTES + int.from_bytes(file[4:6], "big")
    return b"%b\xff\xe1%b%b%b" % (file[:at], (2 + len(body)).to_bytes(2, "big"), body, file[at:])
