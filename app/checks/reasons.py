"""Why a candidate is refused: the names that clients meet, and their numbers in arrays."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

NOT_FINITE: Final = "not-finite"
"""It holds a NaN or an infinity."""
BRIGHTNESS: Final = "brightness"
CONTRAST: Final = "contrast"
LABEL: Final = "label"
"""The classifier names another class than the one that was asked for."""
CONFIDENCE: Final = "confidence"
"""The classifier names that class, but is not sure enough."""
COPY: Final = "copy"
"""It is nearer to a training image than unseen real images are."""
NEAR_DUPLICATE: Final = "near-duplicate"
"""It hardly differs from an earlier sample of the job."""

REASONS: Final = (
    "", NOT_FINITE, BRIGHTNESS, CONTRAST, LABEL, CONFIDENCE, COPY, NEAR_DUPLICATE,
)  # fmt: skip
"""In the order in which they are looked for: the first that holds is the one that counts."""

Codes = NDArray[np.int8]
"""[n] positions in `REASONS`; 0 of a candidate that passes."""


def code_of(reason: str) -> int:
    """Its number."""
    return REASONS.index(reason)


def counted(codes: Codes) -> Counter[str]:
    """Reason → candidates; those that pass are left out."""
    found = np.bincount(codes, minlength=len(REASONS)).tolist()
    return Counter({name: n for name, n in zip(REASONS, found, strict=True) if name and n})
