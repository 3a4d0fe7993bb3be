"""Every check together with a classifier that labels: who is refused, for what, and who stays."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.checks.planned import CopyLimits, PlannedChecks, PlannedCopies, PlannedDuplicates, Range
from app.errors import DryClassError
from app.jobs.openings import FEWEST_OWED
from app.jobs.plan import Plan
from models.verdicts import Verdicts
from tests import shard_runs
from tests.labelled import CLASSES, labelled_plan
from tests.shard_runs import SIDE, Painter, Ran

THRESHOLD, USUAL = 0.5, 40.0
COPIES = PlannedCopies(
    dataset="shop", sha256="0" * 64, percentile=5, space="pixels", training="train",
    holdout="test", fit="crop", resample="bilinear", labels=(),
    limits=CopyLimits(THRESHOLD, (USUAL,)),
)  # fmt: skip
ALL = PlannedChecks(
    brightness=Range(0.42, 0.56), contrast=Range(0.0, 0.31), copies=COPIES,
    near_duplicates=PlannedDuplicates("phash", 0),
)  # fmt: skip
POOL = np.random.default_rng(11).integers(0, 256, (90, SIDE, SIDE, 1)).astype(np.uint8)
"""All that is ever drawn, so that much comes again."""


def pictures(digest: bytes, label: int) -> NDArray[np.uint8]:
    assert label == -1
    return POOL[int.from_bytes(digest[:4]) % len(POOL)]


def one_verdict(pixels: NDArray[np.uint8]) -> tuple[int, float]:
    """Two of three are `often`; how surely is another pixel's."""
    return int(pixels[1, 0, 0]) // 171, int(pixels[2, 0, 0]) / 256


def one_distance(pixels: NDArray[np.uint8]) -> float:
    return float(pixels[3, 0, 0]) / 4


def label(_: str, images: NDArray[np.uint8]) -> Verdicts:
    found = [one_verdict(pixels) for pixels in images]
    return Verdicts(np.array([k for k, _ in found]), np.array([s for _, s in found], np.float32))


def distances(images: NDArray[np.uint8], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    assert not groups.any(), "nobody is asked by class, so every training image counts"
    return np.array([one_distance(pixels) for pixels in images])


def run(plan: Plan, shard: int = 0, **fields: Any) -> Ran:
    return shard_runs.run(
        plan, shard, Painter(pictures), fields.pop("factor", 100.0),
        label=label, distances=distances, **fields,
    )  # fmt: skip


def by_hand(plan: Plan) -> tuple[list[tuple[int, int]], Counter[str]]:
    """(sample, candidate), and why the others were refused: one candidate after the other."""
    assert plan.labelled_by is not None
    checks = plan.checks
    assert checks is not None
    labels = [plan.cells[cell].label for cell in plan.shard(0).cells]
    left = set(range(len(labels)))
    chosen: list[tuple[int, int]] = []
    images: list[bytes] = []
    why: Counter[str] = Counter()
    candidate = -1
    while left:
        candidate += 1
        assert candidate < 10_000, "the pool holds too few that pass"
        made = Painter(pictures).one(plan, 0, 0, candidate, -1)
        pixels = made.pixels[0]
        levels = pixels.astype(float) / 255
        kind, sure = one_verdict(pixels)
        fits = [place for place in sorted(left) if labels[place] == kind]
        usable = sure >= plan.labelled_by.min_confidence and kind in labels
        if not made.finite[0]:
            why["not-finite"] += 1
        elif checks.brightness and not 0.42 <= levels.mean() <= 0.56:
            why["brightness"] += 1
        elif checks.contrast and levels.std() > 0.31:
            why["contrast"] += 1
        elif checks.copies and one_distance(pixels) / USUAL <= THRESHOLD:
            why["copy"] += 1
        elif usable and checks.near_duplicates and pixels.tobytes() in images:
            why["near-duplicate"] += 1
        elif sure < plan.labelled_by.min_confidence:
            why["low-confidence"] += 1
        elif not fits:
            why["other-class-full"] += 1
        else:
            chosen.append((fits[0], candidate))
            left.remove(fits[0])
            images.append(pixels.tobytes())
    return sorted(chosen), why


def checked(counts: dict[str, int], confidence: float = 0.2, checks: PlannedChecks = ALL) -> Plan:
    return replace(labelled_plan(counts, confidence), checks=checks)


@settings(deadline=None, max_examples=20)
@given(
    st.integers(1, 8), st.integers(0, 3), st.integers(1, 40), st.sampled_from([0.0, 0.3]),
    st.booleans(),
)  # fmt: skip
def test_each_is_refused_for_the_first_reason_and_n_stay(
    often: int, seldom: int, batch: int, confidence: float, duplicates: bool
) -> None:
    checks = ALL if duplicates else replace(ALL, near_duplicates=None)
    plan = checked({"often": often, "seldom": seldom}, confidence, checks)
    made = run(replace(plan, engine_batch=batch))
    chosen, why = by_hand(plan)
    assert made.chosen == chosen
    assert +made.run.reasons == +why
    assert not made.run.reasons_by_class, "nobody is drawn for a class"


def test_every_reason_comes_and_each_sample_holds_what_was_asked() -> None:
    plan = checked({"often": 4, "seldom": 6})
    made = run(plan)
    assert set(+made.run.reasons) == {
        "not-finite", "brightness", "contrast", "copy", "near-duplicate", "low-confidence",
        "other-class-full",
    }  # fmt: skip
    found = Counter(plan.classes[plan.cells[row.cell].label] for row in made.rows)
    assert found == {"often": 4, "seldom": 6}
    assert len({pixels.tobytes() for pixels in made.images.values()}) == 10
    for row in made.rows:
        pixels = made.images[row.sample].reshape(SIDE, SIDE, 1)
        kind, sure = one_verdict(pixels)
        assert CLASSES[kind] == plan.classes[plan.cells[row.cell].label]
        assert sure >= 0.2
        assert one_distance(pixels) > THRESHOLD * USUAL
        assert 0.42 <= pixels.mean() / 255 <= 0.56


def test_what_was_not_kept_bars_nobody() -> None:
    """A candidate whose class is full is no sample: what looks like it later is no duplicate."""
    only = PlannedChecks(near_duplicates=PlannedDuplicates("phash", 0))
    plan = checked({"often": 1, "seldom": 20}, 0.0, only)
    made = run(plan)
    chosen, why = by_hand(plan)
    assert made.chosen == chosen
    assert +made.run.reasons == +why
    assert made.run.reasons["other-class-full"] > made.run.reasons["near-duplicate"] > 0


def test_a_dry_class_is_told_what_helps_against_what_refused_most() -> None:
    with pytest.raises(DryClassError) as dry:
        run(checked({"often": 3, "never": 2}, checks=PlannedChecks(brightness=Range(0.1, 0.9))),
            factor=1.0)  # fmt: skip
    members = dry.value.members
    assert members["missing"] == {"never": 2}
    assert members["refused"]["other-class-full"] > members["refused"]["not-finite"] > 0
    assert sum(members["refused"].values()) == FEWEST_OWED * len(CLASSES) - 3
    assert "take a model that makes it more often" in dry.value.detail
    assert "checkpoint" not in dry.value.detail
