"""Text about many samples at once, put together by numpy instead of string by string.

A `Text` is a table of bytes with a row for each sample. Such tables stand beside each other as
lines do, whose bytes are taken out in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Text:
    """uint8 [n, w]: rows, with zeros behind them; int64 [n]: how many bytes each has."""

    content: NDArray[np.uint8]
    lengths: NDArray[np.int64]

    def joined(self) -> bytes:
        """All rows, one after the other."""
        if self.lengths.min(initial=self.content.shape[1]) == self.content.shape[1]:
            return self.content.tobytes()
        return self.content[np.arange(self.content.shape[1]) < self.lengths[:, None]].tobytes()


class Choices:
    """A few texts, of which each row takes one."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        width = max(map(len, texts), default=0)
        padded = b"".join(text.ljust(width, b"\0") for text in texts)
        self._content = np.frombuffer(padded, np.uint8).reshape(len(texts), width)
        self._lengths = np.array([len(text) for text in texts], np.int64)

    def of(self, which: NDArray[np.integer[Any]]) -> Text:
        """The texts at these positions [n]."""
        return Text(self._content[which], self._lengths[which])


def beside(count: int, *parts: Text | bytes) -> Text:
    """Rows of several tables, each after the one of the table before; bytes are in every row."""
    texts = [_repeated(part, count) if isinstance(part, bytes) else part for part in parts]
    content = np.zeros((count, sum(text.content.shape[1] for text in texts)), np.uint8)
    ends = np.zeros(count, np.int64)
    starts: list[tuple[int, slice | NDArray[np.int64]]] = [(0, slice(None))]
    for text in texts:
        width = text.content.shape[1]
        for start, rows in starts:
            content[rows, start : start + width] = text.content[rows]
        ends += text.lengths
        if text.lengths.min(initial=width) == width:
            starts = [(start + width, rows) for start, rows in starts]
        else:
            # Rows that are equally long so far are moved together: there are few lengths.
            starts = [(start, np.flatnonzero(ends == start)) for start in np.unique(ends).tolist()]
    return Text(content[:, : ends.max(initial=0)], ends)


def decimals(values: NDArray[np.integer[Any]], digits: int = 1) -> Text:
    """Numbers [n], none of them negative, with leading zeros up to so many digits."""
    left = values.astype(np.int64)
    most = max(digits, len(str(int(left.max(initial=0)))))
    content = np.empty((len(values), most), np.uint8)
    for place in range(most - 1, -1, -1):
        left, content[:, place] = np.divmod(left, 10)
    spare = (np.cumsum(content[:, : most - digits] != 0, axis=1) == 0).sum(axis=1)
    content += ord("0")
    for more in range(1, most - digits + 1):
        rows = np.flatnonzero(spare == more)
        content[rows, : most - more] = content[rows, more:]
        content[rows, most - more :] = 0
    return Text(content, most - spare)


def hexadecimal(hashes: NDArray[np.void]) -> Text:
    """Bytes [n], all of one length, as lower-case hexadecimal digits."""
    width = 2 * hashes.dtype.itemsize
    content = np.frombuffer(hashes.tobytes().hex().encode(), np.uint8).reshape(len(hashes), width)
    return Text(content, np.full(len(hashes), width))


def _repeated(text: bytes, count: int) -> Text:
    row = np.frombuffer(text, np.uint8)
    return Text(np.broadcast_to(row, (count, len(text))), np.full(count, len(text)))
