"""The encoder of each encoding, and its name and version."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.datasets import jpeg, png, webp
from app.jobs.encoding import Encoding, Jpeg, Webp


class Encode(Protocol):
    """Writes image files."""

    def __call__(
        self, pixels: NDArray[np.uint8], packets: NDArray[np.uint8] | None = None, /
    ) -> list[bytes]:
        """One file for each image of uint8 [N, H, W, C]; with the XMP packet of each, uint8
        [N, bytes], if given."""


def encoder_of(encoding: Encoding) -> Encode:
    """What writes the files of an encoding."""
    match encoding:
        case Webp(quality=quality):
            return partial(webp.encode_batch, quality=quality)
        case Jpeg(quality=quality):
            return partial(jpeg.encode_batch, quality=quality)
        case _:
            return png.encode_batch


def encoder_names() -> Mapping[str, str]:
    """Format → name and version of its encoder."""
    return {
        "png": png.encoder_name(),
        "webp": webp.encoder_name(),
        "jpeg": jpeg.encoder_name(),
    }
