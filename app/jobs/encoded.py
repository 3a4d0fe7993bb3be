"""Images of one batch as files, with their hashes: what an encoder's thread does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from time import thread_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.datasets.encoders import Encode
from app.datasets.png import bytes_of_each
from app.jobs.plan import Shard


@dataclass(frozen=True, slots=True)
class Candidates:
    """One batch of a model's stream, and the samples it may fill."""

    model: int
    first: int
    positions: NDArray[np.int64]
    """[n] positions among the images that the shard draws; -1 where a candidate was refused, or is
    not labelled yet."""

    def pieces(
        self, pixels: NDArray[np.uint8], size: int
    ) -> Iterator[tuple[Candidates, NDArray[np.uint8]]]:
        """The batch and its images [n, H, W, C] in pieces of at most `size`."""
        for start in range(0, len(self.positions), size):
            some = slice(start, start + size)
            yield (
                replace(self, first=self.first + start, positions=self.positions[some]),
                pixels[some],
            )


class Encoded(NamedTuple):
    """The accepted images of one batch: columns of equal length, in order of the candidates."""

    positions: NDArray[np.int64]
    """Of samples in the shard."""
    candidates: NDArray[np.int64]
    payloads: list[bytes]
    file_sha256: NDArray[np.void]
    pixel_sha256: NDArray[np.void]
    cpu_seconds: float
    """That it took."""


Packets = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Positions in a shard [n] → the XMP packets of these samples [n, bytes]."""
Sign = Callable[[list[int], list[int], list[bytes]], list[bytes]]
"""Positions in a shard, candidates, image files → the files with a signed manifest."""
Change = Callable[[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]], NDArray[np.uint8]]
"""Transforms images [n, H, W, C] of a model: its place in the plan, the candidates, how many
variants of each, the images. Gives the variants, image by image."""


def encoded(
    shard: Shard,
    candidates: Candidates,
    pixels: NDArray[np.uint8],
    encode: Encode,
    packets: Packets | None = None,
    change: Change | None = None,
    sign: Sign | None = None,
) -> Encoded:
    """Files of the candidates that were not refused; pixels is uint8 [n, H, W, C].

    change: what happens to images before they are encoded. Pixel hashes are of the result.
    """
    began = thread_time()
    keep = np.flatnonzero(candidates.positions >= 0)
    kept = np.ascontiguousarray(pixels[keep] if len(keep) < len(pixels) else pixels)
    drawn = candidates.positions[keep]
    copies = shard.copies[drawn]
    if change is not None:
        kept = change(candidates.model, candidates.first + keep, copies, kept)
    positions = shard.places(drawn)
    numbers = candidates.first + np.repeat(keep, copies)
    payloads = encode(kept, packets(positions) if packets else None)
    if sign is not None:
        payloads = sign(positions.tolist(), numbers.tolist(), payloads)
    return Encoded(
        positions=positions,
        candidates=numbers,
        payloads=payloads,
        file_sha256=_digests(payloads),
        pixel_sha256=_digests(bytes_of_each(kept)),
        cpu_seconds=thread_time() - began,
    )


def _digests(contents: Iterable[bytes]) -> NDArray[np.void]:
    """The SHA-256 of each."""
    return np.array([sha256(content).digest() for content in contents], "V32")
