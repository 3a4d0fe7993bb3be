"""What a job says whose class can't be filled: which, of how many candidates, refused for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from app.checks import reasons
from app.errors import DryClassError
from app.jobs.openings import LOW_CONFIDENCE, OTHER_CLASS_FULL, Openings
from app.jobs.plan import Plan, Shard

ADVICE = {
    reasons.NOT_FINITE: "the checkpoint is likely broken: train or register it again",
    reasons.BRIGHTNESS: "widen the bounds of brightness",
    reasons.CONTRAST: "widen the bounds of contrast",
    reasons.LABEL: "take a model that draws this class better",
    reasons.CONFIDENCE: "lower min_confidence",
    reasons.COPY: "take a model that draws more than its training images, or lower the percentile",
    reasons.NEAR_DUPLICATE: "lower the distance of near_duplicates, or ask for fewer samples",
    LOW_CONFIDENCE: "lower min_confidence of labelled_by",
    OTHER_CLASS_FULL: "ask for less of this class, or take a model that makes it more often",
}
"""Reason → what helps against it."""


def by_class_of(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Class → reason → candidates, from counts by (class, reason)."""
    found: dict[str, dict[str, int]] = {}
    for (name, reason), count in sorted(counts.items()):
        found.setdefault(name, {})[reason] = count
    return found


def dry_positions(
    plan: Plan,
    shard: Shard,
    model: int,
    wanted: NDArray[np.int64],
    drawn: int,
    refused: Counter[str],
    by_class: Mapping[tuple[str, str], int],
) -> DryClassError:
    """wanted: the positions that are open after `drawn` candidates."""
    labels = [plan.cells[cell].label for cell in shard.drawn[wanted]]
    short = {plan.classes[label]: count for label, count in Counter(labels).items()}
    of_class = {name: why for name, why in by_class_of(by_class).items() if name in short}
    against: Counter[str] = Counter()
    for why in of_class.values():
        against.update(why)
    missing = ", ".join(
        f"{name!a} ({count} missing; refused: {_listed(of_class.get(name, {}))})"
        for name, count in short.items()
    )
    return DryClassError(
        f"{plan.models[model].ref} ran dry for {missing}, after {drawn} candidates of shard "
        f"{shard.index}, of which {refused.total()} were refused ({_listed(refused)}). "
        f"{_advice(against)}",
        missing=short,
        refused={name: count for name, count in refused.items() if count},
        refused_by_class=of_class,
    )


def dry_labelled(
    plan: Plan, shard: Shard, model: int, openings: Openings, refused: Counter[str]
) -> DryClassError:
    """Of a model that takes no class, with checks beside those of the classifier's labels."""
    short = {plan.classes[label]: count for label, count in openings.missing.items()}
    labelled = {name: openings.labelled[label] for label, name in enumerate(plan.classes)}
    missing = ", ".join(
        f"{name!a} ({count} missing, {labelled[name]} labelled so)" for name, count in short.items()
    )
    return DryClassError(
        f"{plan.models[model].ref} ran dry for {missing} in shard {shard.index}: refused were "
        f"{_listed(refused)}. {_advice(refused)}",
        missing=short,
        refused={name: count for name, count in refused.items() if count},
        labelled=labelled,
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def _advice(refused: Mapping[str, int]) -> str:
    """What helps against the most frequent reason."""
    known = [name for name in refused if name in ADVICE]
    first = max(known, key=lambda name: refused[name], default=None)
    most = "ask for less of this class" if first is None else ADVICE[first]
    return f"{most[0].upper()}{most[1:]}."
