"""WebP files by Pillow (libwebp): lossless, or lossy with a quality."""

from __future__ import annotations

import io
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

METHOD = 0
"""libwebp's fastest: for small images, higher ones take several times as long for a few percent."""


def encoder_name() -> str:
    """Encoder and version: part of the plan, because equal bytes need an equal encoder."""
    return f"webp/1 pillow({version('pillow')}) libwebp({features.version('webp')})/{METHOD}"


def encode_batch(pixels: NDArray[np.uint8], quality: int | None = None) -> list[bytes]:
    """One WebP file for each image of uint8 [N,H,W,C], C of 1, 3 or 4.

    Lossless without a quality, also where a pixel is transparent. Raises ValueError for other
    channels and for a side of more than 16,383 pixels.
    """
    if pixels.shape[3] not in (1, 3, 4):
        raise ValueError(f"a WebP file has no form for {pixels.shape[3]} channels")
    planes = pixels[..., 0] if pixels.shape[3] == 1 else pixels
    return [_file(Image.fromarray(plane), quality) for plane in np.ascontiguousarray(planes)]


def _file(image: Image.Image, quality: int | None) -> bytes:
    out = io.BytesIO()
    if quality is None:
        # `exact` keeps the colour of transparent pixels; quality is the effort here.
        image.save(out, "WEBP", lossless=True, quality=0, method=METHOD, exact=True)
    else:
        image.save(out, "WEBP", quality=quality, method=METHOD)
    return out.getvalue()
