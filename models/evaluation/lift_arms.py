"""The arms of a lift: which there are, and what each gives a classifier to learn. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.corpus.corpus import Corpus
from models.evaluation.lift_options import LiftOptions
from models.evaluation.lift_result import Skipped, Synthetic

IMBALANCED = 1.5
"""Largest class over smallest, from which on an arm evens them out."""

Indices = npt.NDArray[np.int64]


class Chosen(NamedTuple):
    """Positions of the images of an arm among the real and among the synthetic ones, int64."""

    real: Indices
    synthetic: Indices


@dataclass(frozen=True)
class Plan:
    """One arm before it is measured; fields as in `lift_result.Arm`."""

    classical: bool
    synthetic: Synthetic = "none"
    ratio: float | None = None
    repeated: bool = False

    @property
    def name(self) -> str:
        """What it learns from, as in "real+classical+synthetic@0.5"."""
        if self.synthetic == "only":
            return "synthetic"
        parts = ["real repeated" if self.repeated else "real"]
        parts += ["classical"] if self.classical else []
        if self.synthetic == "balance":
            parts.append("synthetic@balance")
        elif self.ratio is not None:
            parts.append(f"synthetic@{self.ratio:g}")
        return "+".join(parts)


def reference(options: LiftOptions) -> Plan:
    """What every arm is compared with."""
    return Plan(classical=options.classical is not None)


def plan_arms(
    train: Corpus, synthetic: Corpus, options: LiftOptions
) -> tuple[list[Plan], list[Skipped]]:
    """Every arm that was asked for, in the order of a table, and those there is too little for."""
    augmented = options.classical is not None
    uneven = is_uneven(train) if options.balance is None else options.balance
    mixes: list[tuple[Synthetic, float | None]] = [("ratio", r) for r in sorted(options.ratios)]
    mixes += [("balance", None)] if uneven else []
    plans = [Plan(classical=False)]
    plans += [Plan(classical=True)] if augmented else []
    plans += [Plan(classical=augmented, repeated=True)] if uneven else []
    for classical in (False, True) if options.alone and augmented else (augmented,):
        plans += [Plan(classical, kind, ratio) for kind, ratio in mixes]
    plans += [Plan(classical=False, synthetic="only")] if options.only else []
    lacks = {plan: _lack(plan, train, synthetic) for plan in plans}
    skipped = [Skipped(name=plan.name, reason=lack) for plan, lack in lacks.items() if lack]
    return [plan for plan in plans if not lacks[plan]], skipped


def is_uneven(corpus: Corpus) -> bool:
    """Whether some class has far fewer images than the largest."""
    counts = corpus.counts
    return bool(counts.max() >= IMBALANCED * counts.min())


def _lack(plan: Plan, train: Corpus, synthetic: Corpus) -> str:
    """Why there are too few synthetic images for an arm; nothing when there are enough."""
    if plan.synthetic == "ratio":
        assert plan.ratio is not None
        wanted = round(plan.ratio * len(train))
        if wanted > len(synthetic):
            return f"it takes {wanted} synthetic images and there are {len(synthetic)}"
    if plan.synthetic == "balance":
        for label, deficit in enumerate(_deficits(train)):
            there = int((synthetic.labels == label).sum())
            if deficit > there:
                name = train.classes[label]
                return f"it takes {deficit} synthetic images of {name} and there are {there}"
    if plan.synthetic == "only" and len(np.unique(synthetic.labels)) < len(train.classes):
        return "some class has no synthetic image"
    return ""


def affordable(
    plans: Sequence[Plan], options: LiftOptions, seconds_each: float
) -> tuple[list[Plan], list[Skipped]]:
    """The plans of which two seeds fit into the minutes, in their order, and the others.

    The reference and one arm with synthetic images always stay.
    """
    if options.minutes is None:
        return list(plans), []
    fit = max(2, int(options.minutes * 60 / (2 * max(seconds_each, 1e-9))))
    ranked = sorted(plans, key=lambda plan: _rank(plan, options))
    kept = set(ranked[:fit])
    reason = f"two seeds of every arm do not fit into {options.minutes:g} minutes"
    left = [Skipped(name=plan.name, reason=reason) for plan in plans if plan not in kept]
    return [plan for plan in plans if plan in kept], left


def _rank(plan: Plan, options: LiftOptions) -> tuple[int, float]:
    """Low for the arms that tell most: the reference, the candidates, then what is beside them."""
    if plan == reference(options):
        return 0, 0.0
    if plan.synthetic in ("ratio", "balance"):
        distance = 0.0 if plan.ratio is None else abs(float(np.log2(plan.ratio)))
        return (1 if is_candidate(plan, options) else 4), distance
    return (3 if plan.synthetic == "only" else 2), 0.0


def is_candidate(plan: Plan, options: LiftOptions) -> bool:
    """Whether an arm can be recommended: it differs from the reference by synthetic images only."""
    return plan.synthetic in ("ratio", "balance") and (
        plan.classical == reference(options).classical
    )


def choose(plan: Plan, real: Corpus, synthetic: Corpus, seed: int) -> Chosen:
    """What one arm and seed learn from.

    A larger ratio of the same seed holds the images of a smaller one and more.
    """
    order = np.random.default_rng([seed, 1]).permutation(len(synthetic))
    if plan.synthetic == "only":
        return Chosen(order[:0], order)
    kept = _repeated(real, seed) if plan.repeated else np.arange(len(real))
    if plan.synthetic == "ratio":
        assert plan.ratio is not None
        return Chosen(kept, order[: round(plan.ratio * len(real))])
    if plan.synthetic == "balance":
        return Chosen(kept, _filling(order, synthetic, _deficits(real)))
    return Chosen(kept, order[:0])


def joined(chosen: Chosen, real: Corpus, synthetic: Corpus) -> Corpus:
    """The chosen images of both, real ones first."""
    return Corpus(
        np.concatenate([real.images[chosen.real], synthetic.images[chosen.synthetic]]),
        np.concatenate([real.labels[chosen.real], synthetic.labels[chosen.synthetic]]),
        real.classes,
    )


def _repeated(real: Corpus, seed: int) -> Indices:
    """Every class as often as the largest, its images in turn."""
    random = np.random.default_rng([seed, 2])
    most = int(real.counts.max())
    classes = [np.flatnonzero(real.labels == label) for label in np.unique(real.labels)]
    return np.concatenate([np.resize(random.permutation(part), most) for part in classes])


def _filling(order: Indices, synthetic: Corpus, deficits: Sequence[int]) -> Indices:
    labels = synthetic.labels[order]
    parts = [order[labels == label][:deficit] for label, deficit in enumerate(deficits)]
    return np.concatenate(parts)


def _deficits(corpus: Corpus) -> list[int]:
    counts = corpus.counts
    deficits: list[int] = (counts.max() - counts).tolist()
    return deficits
