"""The stored samples of a job, shard by shard: what every export but a copy of files reads."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from app.datasets.manifest import Records
from app.errors import DamagedShardError
from app.jobs.plan import Plan
from app.storage import LocalStorage

_SAMPLE_BYTES = 64 << 10
_FILE_BYTES = 64 << 20
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A stored shard, and the hash it must have."""

    object_key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The samples of one shard in order of index, and the files of their images."""

    rows: Records
    """[n]: index, cell, candidate and both hashes, and where the files were."""
    files: list[bytes]


def stored(
    shards: Iterable[ShardFile], pages: Iterable[Records], storage: LocalStorage
) -> Iterator[Stored]:
    """Every sample, one shard at a time, in order of index.

    pages: the rows of each shard. A shard is read whole, and the next one meanwhile: it holds no
    more than 64 MiB of pixels. Raises DamagedShardError when its file is not the one that was
    stored.
    """
    contents = ahead(shards, lambda shard: checked(storage, shard))
    for (_, content), rows in zip(contents, pages, strict=True):
        starts = rows["offset"].tolist()
        ends = (rows["offset"] + rows["length"]).tolist()
        if ends and max(ends) > len(content):
            raise DamagedShardError(
                "The manifest names bytes that a shard does not have. Check the database, then "
                "submit the job again."
            )
        yield Stored(rows, [content[start:end] for start, end in zip(starts, ends, strict=True)])


def ahead(
    shards: Iterable[ShardFile], look: Callable[[ShardFile], Found]
) -> Iterator[tuple[ShardFile, Found]]:
    """Each shard and what `look` finds in it, one shard ahead of its reader in a thread.

    Hashing takes as long as writing, and leaves the interpreter to others.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[tuple[ShardFile, Future[Found]]] = deque()
        for shard in shards:
            waiting.append((shard, thread.submit(look, shard)))
            if len(waiting) > 1:
                earlier, found = waiting.popleft()
                yield earlier, found.result()
        for shard, found in waiting:
            yield shard, found.result()


def checked(storage: LocalStorage, shard: ShardFile) -> bytes:
    """The bytes of a shard file. Raises DamagedShardError when they are not what was stored."""
    content = storage.read(shard.object_key)
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        raise DamagedShardError(
            "A shard on the disk has changed since it was written. Check the disk, then "
            "submit the job again."
        )
    return content


def most_bytes(plan: Plan, samples: int) -> int:
    """What a file of so many samples has at most, with all that is said of them: generously."""
    return min(samples, plan.samples) * (2 * plan.image.bytes + _SAMPLE_BYTES) + _FILE_BYTES


def piece_count(samples: int, size: int) -> int:
    """How many pieces of `size` so many samples are cut into."""
    return -(-samples // size)


Weigh = Callable[[Stored], NDArray[np.int64]]
"""int64 [n]: how much of a file each sample takes."""


def by_number(part: Stored) -> NDArray[np.int64]:
    """Every sample counts one."""
    return np.ones(len(part.rows), np.int64)


def pieces(
    samples: Iterable[Stored], room: int, weigh: Weigh = by_number
) -> Iterator[tuple[int, Iterator[Stored]]]:
    """The same samples, cut into pieces that have room for so much; each holds a sample at least.

    Number of the piece and its parts, which come as they are read: holds one shard at a time.
    """
    for number, parts in groupby(_cut(samples, room, weigh), key=itemgetter(0)):
        yield number, (part for _, part in parts)


def _cut(samples: Iterable[Stored], room: int, weigh: Weigh) -> Iterator[tuple[int, Stored]]:
    number, left, empty = 0, room, True
    for shard in samples:
        weights = weigh(shard)
        at = 0
        while at < len(weights):
            fits = int(np.searchsorted(np.cumsum(weights[at:]), left, side="right"))
            if not fits and not empty:
                number, left, empty = number + 1, room, True
                continue
            end = at + max(fits, 1)
            yield number, Stored(shard.rows[at:end], shard.files[at:end])
            left, empty = left - int(weights[at:end].sum()), False
            at = end
