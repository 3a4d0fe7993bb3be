"""Images as the judge sees them: averaged down, as a whole, to at most 32 pixels a side."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.corpus.preprocessing import Preprocessing
from models.spec import ImageShape

SIDE: Final = 32


def reduced(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 [N, H, W, C] -> [N, h, w, C]; small images stay as they are."""
    _, height, width, channels = images.shape
    longest = max(height, width)
    if longest <= SIDE:
        return images
    shape = ImageShape.model_validate(
        {
            "height": max(1, round(height * SIDE / longest)),
            "width": max(1, round(width * SIDE / longest)),
            "channels": channels,
        }
    )
    smaller = Preprocessing(**shape.model_dump(), fit="stretch", resample="box")
    return np.stack([smaller.apply_to(image) for image in images])
