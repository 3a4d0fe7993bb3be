"""The stored samples of a job, shard by shard: what every export but a copy of files reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.datasets.manifest import SampleRow, StoredRow
from app.errors import DamagedShardError
from app.jobs.plan import Plan
from app.storage import LocalStorage

ReadRows = Callable[[int, int], Sequence[StoredRow]]
"""At most so many rows with an index above the first argument, in order of index."""


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A stored shard, and the hash it must have."""

    object_key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The samples of one shard in order of index, and the files of their images."""

    rows: list[SampleRow]
    files: list[bytes]


def stored(
    plan: Plan, shards: Iterable[ShardFile], read_rows: ReadRows, storage: LocalStorage
) -> Iterator[Stored]:
    """Every sample, one shard at a time, in order of index.

    A shard is read whole: it holds no more than 64 MiB of pixels. Raises DamagedShardError when
    its file is not the one that was stored, or its rows are not all there.
    """
    for number, shard in enumerate(shards):
        first, end = plan.start(number), plan.start(number + 1)
        content = checked(storage, shard)
        rows = [found.row for found in read_rows(first - 1, end - first)]
        if [row.sample for row in rows] != list(range(first, end)):
            raise DamagedShardError(
                f"Rows of the manifest are missing between {first} and {end - 1}. Check the "
                "database, then submit the job again."
            )
        yield Stored(rows, [content[row.offset : row.offset + row.length] for row in rows])


def checked(storage: LocalStorage, shard: ShardFile) -> bytes:
    """The bytes of a shard file. Raises DamagedShardError when they are not what was stored."""
    content = storage.read(shard.object_key)
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        raise DamagedShardError(
            "A shard on the disk has changed since it was written. Check the disk, then "
            "submit the job again."
        )
    return content


def piece_count(samples: int, size: int) -> int:
    """How many pieces of `size` so many samples are cut into."""
    return -(-samples // size)


@dataclass(frozen=True, slots=True)
class Piece:
    """So many samples in a row, which become one file of an export."""

    number: int
    parts: list[Stored]

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(len(part.rows) for part in self.parts)


def pieces(samples: Iterable[Stored], size: int) -> Iterator[Piece]:
    """The same samples, cut into pieces of `size`; the last one may be shorter.

    Holds one piece at a time, and one shard.
    """
    held: list[Stored] = []
    count, number = 0, 0
    for shard in samples:
        at = 0
        while at < len(shard.rows):
            take = min(size - count, len(shard.rows) - at)
            held.append(Stored(shard.rows[at : at + take], shard.files[at : at + take]))
            at, count = at + take, count + take
            if count == size:
                yield Piece(number, held)
                held, count, number = [], 0, number + 1
    if held:
        yield Piece(number, held)
