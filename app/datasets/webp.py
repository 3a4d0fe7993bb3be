"""WebP files by Pillow (libwebp): lossless, or lossy with a quality."""

from __future__ import annotations

import io
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

LOSSLESS_METHOD, LOSSY_METHOD = 1, 4
"""libwebp's effort, 0 … 6. Lossless, 1 is the first that writes grey as a palette, half of the
bytes at 28 x 28, and more takes several times as long for nothing; lossy, 4 saves a fifth."""


def encoder_name() -> str:
    """Encoder and version: part of the plan, because equal bytes need an equal encoder."""
    libraries = f"pillow({version('pillow')}) libwebp({features.version('webp')})"
    return f"webp/1 {libraries}/{LOSSLESS_METHOD},{LOSSY_METHOD}"


def encode_batch(
    pixels: NDArray[np.uint8],
    packets: NDArray[np.uint8] | None = None,
    *,
    quality: int | None = None,
) -> list[bytes]:
    """One WebP file for each image of uint8 [N,H,W,C], C of 1, 3 or 4.

    packets: uint8 [N, bytes], the XMP packet of each, which makes files of the extended form.
    Lossless without a quality, also where a pixel is transparent. Raises ValueError for other
    channels and for a side of more than 16,383 pixels.
    """
    if pixels.shape[3] not in (1, 3, 4):
        raise ValueError(f"a WebP file has no form for {pixels.shape[3]} channels")
    planes = pixels[..., 0] if pixels.shape[3] == 1 else pixels
    texts = [b""] * len(planes) if packets is None else [packet.tobytes() for packet in packets]
    return [
        _file(Image.fromarray(plane), text, quality)
        for plane, text in zip(np.ascontiguousarray(planes), texts, strict=True)
    ]


def _file(image: Image.Image, packet: bytes, quality: int | None) -> bytes:
    out = io.BytesIO()
    options: dict[str, Any] = {"quality": quality, "method": LOSSY_METHOD}
    if quality is None:
        # `exact` keeps the colour of transparent pixels; quality is the effort here.
        options = {"lossless": True, "quality": 0, "method": LOSSLESS_METHOD, "exact": True}
    if packet:
        options["xmp"] = packet
    image.save(out, "WEBP", **options)
    return out.getvalue()
