"""What a classifier says of images. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Verdicts(NamedTuple):
    """The likeliest class of each image, and how likely it is.

    labels: int64 [n], positions in the classes of the classifier.
    confidences: float32 [n], its softmax probability, in (0, 1].
    """

    labels: NDArray[np.int64]
    confidences: NDArray[np.float32]
