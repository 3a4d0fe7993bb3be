"""The candidates of one shard of a job with checks: who fills what, who is refused and why.

As without checks, the first candidates of a model go to its samples in order. What is refused
leaves its sample open; the open ones are tried in rounds, in each of which every open sample has
several candidates of the same stream, one after the other, and the first that passes fills it.
What a round holds follows from the plan and the verdicts alone, never from batches or timing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.checks.checking import Checking
from app.checks.duplicates import Seen
from app.checks.perceptual import Hashes, perceptual_hashes
from app.checks.reasons import NEAR_DUPLICATE, REASONS, Codes, code_of, counted
from app.errors import DryClassError
from app.jobs.dry import dry_labelled, dry_positions
from app.jobs.encoded import Candidates
from app.jobs.openings import FEWEST_OWED, NOT_FINITE, Openings, most_candidates
from app.jobs.plan import Plan, PlannedClassifier, Shard
from models.verdicts import Verdicts

ROUND = 64
"""Fewest candidates of a round after the first: one at a time would leave a device idle."""


class Images(Protocol):
    """What a generator gave for one batch."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """[n, H, W, C]."""

    @property
    def finite(self) -> NDArray[np.bool_]:
        """[n]."""


Draw = Callable[[int, int, NDArray[np.int64]], Generator[tuple[Candidates, Images]]]
"""Batches of a model's stream from a candidate on: model, candidate, position of each."""
Accepted = Iterator[tuple[Candidates, NDArray[np.uint8]]]


@dataclass
class Stream:
    """The candidates of one model in a shard."""

    model: int
    wanted: NDArray[np.int64]
    """Positions in the shard that it has to fill."""
    limit: int
    """Candidates that may be drawn."""
    first: int = 0
    """The next one."""

    def round(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [n]: which of the open positions each of the next candidates is for."""
        times = max(1, ROUND // len(positions)) if self.first else 1
        return np.tile(positions, times)[: self.limit - self.first]


@dataclass(kw_only=True)
class Filling:
    """Fills every sample of a shard with a candidate that passes the checks."""

    plan: Plan
    shard: Shard
    checking: Checking
    refusal_factor: float
    draw: Draw
    label: Callable[[str, NDArray[np.uint8]], Verdicts] | None
    look_up: Callable[[], None]
    reasons: Counter[str]
    """Reason → candidates refused; counted here."""
    by_class: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The same by the class that they were drawn for, where they were drawn for one."""
    barred: Sequence[NDArray[np.int64]] = ()
    """For each comparison of the shards so far, the positions that it found to be near duplicates
    of earlier shards' samples: each is filled anew, by later candidates, once all else is."""
    hashes: Hashes | None = None
    """uint64 [drawn]: of the images, where near duplicates are refused; once all are accepted."""

    def accepted(self) -> Accepted:
        """As `Drawing.accepted`."""
        if self._seen is not None:
            self.hashes = np.zeros(len(self.shard.drawn), np.uint64)
        streams = self._streams()
        for generation in range(len(self.barred) + 1):
            for stream in streams:
                wanted = stream.wanted
                if generation:
                    wanted = np.intersect1d(wanted, self.barred[generation - 1])
                for candidates, pixels in self._fill_some(stream, wanted):
                    kept = self._without_barred(candidates.positions, generation)
                    if (kept >= 0).any():
                        yield replace(candidates, positions=kept), pixels

    def _without_barred(self, positions: NDArray[np.int64], generation: int) -> NDArray[np.int64]:
        """Without those that a comparison will find to be near duplicates: they are filled anew."""
        later = self.barred[generation:]
        if not len(later):
            return positions
        barred = np.isin(positions, np.concatenate(later)) & (positions >= 0)
        self._count(positions, np.where(barred, code_of(NEAR_DUPLICATE), 0).astype(np.int8))
        return np.where(barred, -1, positions)

    @cached_property
    def _seen(self) -> Seen | None:
        duplicates = self.checking.planned.near_duplicates
        return None if duplicates is None else Seen(duplicates.distance)

    def _streams(self) -> list[Stream]:
        owners = np.array([cell.model for cell in self.plan.cells])[self.shard.drawn]
        found = []
        for model in range(len(self.plan.models)):
            wanted = np.flatnonzero(owners == model)
            found.append(Stream(model, wanted, self._limit(len(wanted))))
        return found

    def _limit(self, owed: int) -> int:
        if self.plan.labelled_by:
            return most_candidates(owed, self.refusal_factor, len(self.plan.classes))
        return int(max(owed, FEWEST_OWED) * self.refusal_factor)

    def _fill_some(self, stream: Stream, wanted: NDArray[np.int64]) -> Accepted:
        if not len(wanted):
            return
        if judge := self.plan.labelled_by:
            yield from self._fill_labelled(stream, wanted, judge)
        else:
            yield from self._fill(stream, wanted)

    def _fill(self, stream: Stream, wanted: NDArray[np.int64]) -> Accepted:
        """Candidates until every wanted position has one, each drawn for a position."""
        filled = np.ones(len(self.shard.drawn), np.bool_)
        filled[wanted] = False
        while len(wanted):
            tried = stream.round(wanted)
            if not len(tried):
                raise self._dry(stream, wanted)
            with closing(self.draw(stream.model, stream.first, tried)) as batches:
                for candidates, batch in batches:
                    positions = self._judged(candidates.positions, batch, filled)
                    if (positions >= 0).any():
                        yield replace(candidates, positions=positions), batch.pixels
                    if filled.all():
                        break
                    self.look_up()
            stream.first += len(tried)
            wanted = wanted[~filled[wanted]]

    def _judged(
        self, positions: NDArray[np.int64], batch: Images, filled: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """int64 [n]: the position that each candidate fills, -1 for the others.

        One for a position that an earlier one has filled is not needed, and not counted.
        """
        count = len(positions)
        codes = self.checking.codes(batch.pixels, batch.finite, self._labels[positions])
        passed = np.flatnonzero((codes == 0) & ~filled[positions])
        takers = self._takers(passed, positions, batch.pixels, codes)
        filled_at = np.where(filled, -1, count)
        filled_at[positions[takers]] = takers
        self._count(positions, np.where(np.arange(count) < filled_at[positions], codes, 0))
        found = np.full(count, -1, np.int64)
        found[takers] = positions[takers]
        filled[positions[takers]] = True
        return found

    def _takers(
        self,
        passed: NDArray[np.int64],
        positions: NDArray[np.int64],
        images: NDArray[np.uint8],
        codes: Codes,
    ) -> NDArray[np.int64]:
        """Of the candidates that passed, the first for each position that is no near duplicate.

        Marks in codes those that are.
        """
        if self._seen is None:
            return passed[np.unique(positions[passed], return_index=True)[1]]
        assert self.hashes is not None
        hashes = perceptual_hashes(images[passed]).tolist() if len(passed) else []
        takers: dict[int, int] = {}
        for candidate, position, value in zip(
            passed.tolist(), positions[passed].tolist(), hashes, strict=True
        ):
            if position in takers:
                continue
            if self._seen.has_near(value):
                codes[candidate] = code_of(NEAR_DUPLICATE)
                continue
            self._seen.add(value)
            self.hashes[position] = value
            takers[position] = candidate
        return np.array(list(takers.values()), np.int64)

    def _count(self, positions: NDArray[np.int64], codes: Codes) -> None:
        """Count the refused ones; by class where each was drawn for a position."""
        self.reasons += counted(codes)
        if self.plan.labelled_by:
            return
        refused = np.flatnonzero(codes)
        labels = self._labels[positions[refused]].tolist()
        for label, code in zip(labels, codes[refused].tolist(), strict=True):
            self.by_class[self.plan.classes[label], REASONS[code]] += 1

    def _fill_labelled(
        self, stream: Stream, wanted: NDArray[np.int64], judge: PlannedClassifier
    ) -> Accepted:
        """Candidates until every wanted position has one of its class; see `Openings`."""
        assert self.label is not None
        openings = Openings(wanted, self._labels[wanted], judge.min_confidence)
        rest = np.full(stream.limit - stream.first, -1, np.int64)
        with closing(self.draw(stream.model, stream.first, rest)) as batches:
            for candidates, batch in batches:
                codes = self.checking.codes(batch.pixels, batch.finite, candidates.positions)
                verdicts = self.label(judge.sha256, batch.pixels)
                hashes = self._mark_duplicates(openings, verdicts, batch.pixels, codes)
                positions = openings.fill(codes == 0, verdicts)
                for candidate, value in hashes.items():
                    assert self.hashes is not None
                    self.hashes[positions[candidate]] = value
                stream.first += openings.considered
                self.reasons += counted(codes[: openings.considered])
                if (positions >= 0).any():
                    yield replace(candidates, positions=positions), batch.pixels
                if not openings.missing:
                    break
                self.look_up()
        # What it calls not finite is whatever did not pass, and is counted already.
        self.reasons += Counter({k: n for k, n in openings.refused.items() if k != NOT_FINITE})
        if openings.missing:
            raise dry_labelled(self.plan, self.shard, stream.model, openings, self.reasons)

    def _mark_duplicates(
        self, openings: Openings, verdicts: Verdicts, images: NDArray[np.uint8], codes: Codes
    ) -> dict[int, int]:
        """Mark near duplicates among those that a class that was asked for could use.

        Returns the hashes of those that become samples, by candidate: nothing else is remembered.
        """
        found: dict[int, int] = {}
        asked = np.flatnonzero(openings.could_fill(codes == 0, verdicts))
        if self._seen is None or not len(asked):
            return found
        left = openings.missing
        hashes = perceptual_hashes(images[asked]).tolist()
        labels = verdicts.labels[asked].tolist()
        for candidate, value, label in zip(asked.tolist(), hashes, labels, strict=True):
            if not left:
                break
            if self._seen.has_near(value):
                codes[candidate] = code_of(NEAR_DUPLICATE)
            elif label in left:
                self._seen.add(value)
                found[candidate] = value
                left[label] -= 1
                left = left if left[label] else {k: n for k, n in left.items() if n}
        return found

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        """int64 [size]: the label of each position."""
        return np.array([cell.label for cell in self.plan.cells])[self.shard.drawn]

    def _dry(self, stream: Stream, wanted: NDArray[np.int64]) -> DryClassError:
        return dry_positions(
            self.plan, self.shard, stream.model, wanted, stream.first, self.reasons, self.by_class
        )
