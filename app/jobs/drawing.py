"""The candidates of one shard: latents → generator → checks. No database, no files, no torch.

Candidate c of a model's stream in a shard has the latent `normal(seed, model, shard, c)`, as the
plan's sampling shapes it.
The first candidates go to the images that the shard has to draw, in order; a refused one leaves its
place to be filled by the next candidates of the same stream, so every run of a shard ends in the
same samples, and exactly as many as the plan says. A place is a sample, or all variants of one
image (`Shard.drawn`): what refuses a candidate sees it before any transform.

Of a model that takes no class, where a classifier labels what it draws, each candidate of the
stream goes to the earliest sample of the class that it was labelled as; see `Openings`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from app.checks.checking import Checking, Distances
from app.checks.perceptual import Hashes
from app.errors import DryClassError
from app.jobs.encoded import Candidates
from app.jobs.filling import Filling
from app.jobs.openings import NOT_FINITE, Openings, most_candidates
from app.jobs.plan import Plan, PlannedClassifier, Shard
from app.jobs.sampling import Latents, shaping
from models.latents import normal
from models.verdicts import Verdicts

BATCHES_ASKED = 3
"""Batches of a shard that the engine has at a time: it never waits for latents, and other jobs
wait for no more than these."""


class Batch(Protocol):
    """What a generator gave for one batch."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """[n, H, W, C]."""

    @property
    def finite(self) -> NDArray[np.bool_]:
        """[n], False where the image must not be used."""


class Answer(Protocol):
    """A batch that was asked for: a future."""

    def result(self) -> Batch:
        """The batch, once it is there; raises what went wrong."""

    def cancel(self) -> bool:
        """It is no longer wanted."""


Label = Callable[[str, NDArray[np.uint8]], Verdicts]
"""From the SHA-256 of a classifier and images [n, H, W, C] to its verdict on each."""


class Generates(Protocol):
    """An engine that is asked and waited for."""

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Batch:
        """Images of one batch."""

    def latent_size(self, model: str) -> int:
        """Length of one latent."""


class Submits(Protocol):
    """The engine, as far as a shard needs it."""

    def submit(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Answer:
        """Ask for the images of one batch."""

    def latent_size(self, model: str) -> int:
        """Length of one latent."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """An engine that is asked and waited for, where one that is submitted to is wanted."""

    engine: Generates

    def submit(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Answer:
        """The answer, which is there already."""
        future: Future[Batch] = Future()
        future.set_result(self.engine.generate(model, z, labels, batch))
        return future

    def latent_size(self, model: str) -> int:
        """Length of one latent."""
        return self.engine.latent_size(model)


class _Asked:
    """Batches of one model in order; the engine has so many of the next ones already."""

    def __init__(self, draws: Iterator[Candidates], submit: Callable[[Candidates], Answer]) -> None:
        self._draws = draws
        self._submit = submit
        self._under_way: deque[tuple[Candidates, Answer]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for _, future in self._under_way:
            future.cancel()

    def __iter__(self) -> Iterator[tuple[Candidates, Batch]]:
        self._ask()
        while self._under_way:
            candidates, future = self._under_way[0]
            batch = future.result()
            self._under_way.popleft()
            self._ask()
            yield candidates, batch

    def _ask(self) -> None:
        while len(self._under_way) < BATCHES_ASKED:
            if (candidates := next(self._draws, None)) is None:
                return
            self._under_way.append((candidates, self._submit(candidates)))


@dataclass(kw_only=True)
class Drawing:
    """Draws candidates until every sample of a shard has one."""

    plan: Plan
    shard: Shard
    engine: Submits
    refusal_factor: float
    label: Label | None = None
    """Needed where a classifier labels or checks what is drawn."""
    distances: Distances | None = None
    """Needed where copies of training images are refused."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why candidates were refused → how many."""
    reasons_by_class: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(class, reason) → candidates that were drawn for the class; of a plan with checks."""
    barred: Sequence[NDArray[np.int64]] = ()
    """As of `Filling`."""
    hashes: Hashes | None = None
    """As of `Filling`."""

    @property
    def refused(self) -> int:
        """Candidates that were drawn and not used."""
        return self.reasons.total()

    def accepted(self) -> Iterator[tuple[Candidates, NDArray[np.uint8]]]:
        """Batches of candidates and their images; see `Candidates.positions` for what each fills.

        Raises DryClassError when a class can't be filled, and whatever the engine raises.
        """
        if self.plan.checks is not None:
            yield from self._checked(Checking(self.plan.checks, self.label, self.distances))
            return
        cell_model = np.array([cell.model for cell in self.plan.cells])
        model_of = cell_model[self.shard.drawn]  # [size]
        judge = self.plan.labelled_by
        for model in range(len(self.plan.models)):
            wanted = np.flatnonzero(model_of == model)
            yield from (
                self._fill_labelled(model, wanted, judge) if judge else self._fill(model, wanted)
            )

    def look_up(self) -> None:
        """Called between the batches of a long search; raises to end it."""

    def _checked(self, checking: Checking) -> Iterator[tuple[Candidates, NDArray[np.uint8]]]:
        filling = Filling(
            plan=self.plan,
            shard=self.shard,
            checking=checking,
            refusal_factor=self.refusal_factor,
            draw=self._drawn,
            label=self.label,
            look_up=self.look_up,
            reasons=self.reasons,
            by_class=self.reasons_by_class,
            barred=self.barred,
        )
        yield from filling.accepted()
        self.hashes = filling.hashes

    def _drawn(
        self, model: int, first: int, wanted: NDArray[np.int64]
    ) -> Generator[tuple[Candidates, Batch]]:
        """Batches of a model's stream; close it when no more are needed."""
        with _Asked(self._batches(model, first, wanted), self._ask) as asked:
            yield from asked

    def _fill(
        self, model: int, wanted: NDArray[np.int64]
    ) -> Iterator[tuple[Candidates, NDArray[np.uint8]]]:
        """Candidates of one model until every wanted position has one."""
        limit = int(len(wanted) * self.refusal_factor)
        first = 0
        while len(wanted):
            if first + len(wanted) > limit:
                raise self._dry(wanted, first)
            refused: list[NDArray[np.int64]] = []
            with _Asked(self._batches(model, first, wanted), self._ask) as asked:
                for candidates, batch in asked:
                    refused.append(candidates.positions[~batch.finite])
                    if batch.finite.any():
                        positions = np.where(batch.finite, candidates.positions, -1)
                        yield replace(candidates, positions=positions), batch.pixels
            first += len(wanted)
            wanted = np.concatenate(refused)
            self.reasons[NOT_FINITE] += len(wanted)

    def _fill_labelled(
        self, model: int, wanted: NDArray[np.int64], judge: PlannedClassifier
    ) -> Iterator[tuple[Candidates, NDArray[np.uint8]]]:
        """Candidates of one model until every wanted position has one of its class."""
        if not len(wanted):
            return
        assert self.label is not None
        labels = np.array([cell.label for cell in self.plan.cells])[self.shard.drawn[wanted]]
        openings = Openings(wanted, labels, judge.min_confidence)
        limit = most_candidates(len(wanted), self.refusal_factor, len(self.plan.classes))
        stream = self._batches(model, 0, np.full(limit, -1, np.int64))
        with _Asked(stream, self._ask) as asked:
            for candidates, batch in asked:
                verdicts = self.label(judge.sha256, batch.pixels)
                filled = openings.fill(batch.finite, verdicts)
                if (filled >= 0).any():
                    yield replace(candidates, positions=filled), batch.pixels
                if not openings.missing:
                    break
                self.look_up()  # a search that finds nothing has to end when told
        self.reasons += openings.refused
        if openings.missing:
            raise self._dry_labelled(model, openings, judge)

    def _batches(self, model: int, first: int, wanted: NDArray[np.int64]) -> Iterator[Candidates]:
        size = self.plan.engine_batch
        for start in range(0, len(wanted), size):
            yield Candidates(model, first + start, wanted[start : start + size])

    def _ask(self, candidates: Candidates) -> Answer:
        planned, positions = self.plan.models[candidates.model], candidates.positions
        standard = normal(
            seed=self.plan.seed,
            model=planned.sha256,
            shard=self.shard.index,
            first=candidates.first,
            count=len(positions),
            size=self.engine.latent_size(planned.sha256),
        )
        z = self._shaped(standard)
        if self.plan.labelled_by:  # nobody knows yet which samples these will be
            return self.engine.submit(planned.sha256, z, None, self.plan.engine_batch)
        labels = self._conditions[self.shard.drawn[positions]]  # [n]
        takes_none = bool(len(labels)) and labels[0] < 0
        return self.engine.submit(
            planned.sha256, z, None if takes_none else labels, self.plan.engine_batch
        )

    @cached_property
    def _shaped(self) -> Callable[[Latents], Latents]:
        return shaping(self.plan.sampling)

    @cached_property
    def _conditions(self) -> NDArray[np.int64]:
        return np.array([cell.condition for cell in self.plan.cells], np.int64)

    def _dry(self, wanted: NDArray[np.int64], drawn: int) -> DryClassError:
        cells = [self.plan.cells[cell] for cell in self.shard.drawn[wanted]]
        short: dict[str, int] = {}
        for cell in cells:
            name = self.plan.classes[cell.label]
            short[name] = short.get(name, 0) + 1
        model = self.plan.models[cells[0].model].ref
        missing = ", ".join(f"{name!a} ({n} missing)" for name, n in short.items())
        return DryClassError(
            f"{model} ran dry for {missing}: of {drawn} candidates of shard {self.shard.index}, "
            f"{self.refused} were refused because their values were not finite (NaN or "
            "infinite). The checkpoint is likely broken: train or register it again.",
            missing=short,
            refused={NOT_FINITE: self.refused},
        )

    def _dry_labelled(
        self, model: int, openings: Openings, judge: PlannedClassifier
    ) -> DryClassError:
        classes = self.plan.classes
        return DryClassError(
            f"Shard {self.shard.index}: "
            + openings.dry(classes, self.plan.models[model].ref, judge.ref),
            missing={classes[label]: count for label, count in openings.missing.items()},
            refused={name: count for name, count in openings.refused.items() if count},
            labelled={name: openings.labelled[label] for label, name in enumerate(classes)},
        )
