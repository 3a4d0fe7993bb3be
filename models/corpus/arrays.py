"""Images that lie in arrays: values of other types to bytes, read row by row from a stream."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from models.corpus.limits import Limits
from models.corpus.preprocessing import Pixels
from models.errors import DatasetError

CHANNELS: Final = (1, 3, 4)


def image_shape(shape: tuple[int, ...], name: str, limits: Limits) -> tuple[int, int, int]:
    """[N, H, W] or [N, H, W, C] -> (H, W, C). Raises DatasetError for any other shape."""
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) != 4 or 0 in shape[1:]:
        raise DatasetError(
            f"{name} has the shape {list(shape)}; images are [N, H, W] or [N, H, W, C].", "shape"
        )
    if shape[3] not in CHANNELS:
        last = " Channels come last: transpose it." if shape[1] in CHANNELS else ""
        raise DatasetError(
            f"{name} has the shape {list(shape)}, and {shape[3]} is no number of channels "
            f"(1, 3 or 4).{last}",
            "shape",
        )
    if shape[1] * shape[2] > limits.pixels:
        raise DatasetError(f"{name} has images that are too large.", "image-too-large")
    return shape[1], shape[2], shape[3]


def rows(stream: BinaryIO, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Iterator[bytes]:
    """The bytes of each row of an array that is stored row by row; the stream must end there."""
    size = dtype.itemsize * prod(shape[1:])
    for _ in range(shape[0]):
        row = stream.read(size)
        if len(row) < size:
            raise DatasetError("An array is cut off. Write or download it again.", "damaged")
        yield row
    if stream.read(1):
        raise DatasetError("An array goes on behind its end. Write it again.", "damaged")


def to_pixels(values: npt.NDArray[np.generic], name: str) -> Pixels:
    """Values of one image -> uint8 of the same shape.

    Whole numbers are 0 ... 255, truth values 0 and 255, and floats 0 ... 1, which is rounded to
    0 ... 255. Raises DatasetError for anything else, also for NaN.
    """
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    if values.dtype.kind == "b":
        return np.where(values, 255, 0).astype(np.uint8)
    if values.dtype.kind == "f":
        return _from_floats(values.astype(np.float64), name)
    if values.dtype.kind in "iu":
        if int(values.min()) < 0 or int(values.max()) > 255:
            raise DatasetError(
                f"{name} has values beyond 0 ... 255, and what they mean only you know. Scale the "
                "images to uint8.",
                "sixteen-bit-image",
            )
        return values.astype(np.uint8)
    raise DatasetError(f"{name} holds {values.dtype}, not numbers of pixels.", "dtype")


def _from_floats(values: npt.NDArray[np.float64], name: str) -> Pixels:
    if not np.isfinite(values).all():
        raise DatasetError(
            f"{name} has values that are NaN or infinite. Find out why, and repair the images.",
            "not-finite",
        )
    if values.min() < 0 or values.max() > 1:
        raise DatasetError(
            f"{name} has floats beyond 0 ... 1, and what they mean only you know. Scale the images "
            "to uint8.",
            "float-range",
        )
    return np.rint(255 * values).astype(np.uint8)
