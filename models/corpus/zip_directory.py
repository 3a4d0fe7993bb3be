"""Where the records of a zip's central directory begin, found by numpy (PKWARE APPNOTE 4.3.12)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RECORD_BYTES = 46
"""Of a record, before its name, its extra field and its comment."""
_SIGNATURE = b"PK\x01\x02"


def record_starts(content: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int] | None:
    """int64 [n]: where each whole record begins in a piece of a directory, uint8 [bytes], that
    begins with one; and where the last of them ends.

    The same four bytes may stand in a name or a checksum, so each record must end where the next
    one begins. None where that does not hold: then they have to be read one after the other.
    """
    first, second, third, fourth = _SIGNATURE
    starts = np.flatnonzero(content[: max(0, len(content) - RECORD_BYTES + 1)] == first)
    for offset, byte in enumerate((second, third, fourth), 1):
        starts = starts[content[starts + offset] == byte]
    if not len(starts) or starts[0] != 0:
        return None
    ends = starts + RECORD_BYTES
    for place in (28, 30, 32):  # the lengths of what follows
        ends += shorts(content, starts + place)
    if (ends[:-1] != starts[1:]).any():
        return None
    if ends[-1] > len(content):
        starts, ends = starts[:-1], ends[:-1]
    return starts, int(ends[-1]) if len(ends) else 0


def shorts(content: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: the two bytes at each place, little-endian."""
    return content[places].astype(np.int64) + 256 * content[places + 1].astype(np.int64)


def names_at(
    content: NDArray[np.uint8], starts: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 [n, w]: the name in each record, with zeros behind it; int64 [n]: its bytes."""
    lengths = shorts(content, starts + 28)
    across = np.arange(int(lengths.max(initial=0)))
    places = np.minimum(starts[:, None] + RECORD_BYTES + across, len(content) - 1)
    return content[places] * (across < lengths[:, None]), lengths
