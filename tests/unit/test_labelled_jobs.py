"""Jobs by class of models that take no class: who fills what, and when it ends."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.errors import DryClassError, JobStoppedError
from app.jobs.openings import FEWEST_OWED, most_candidates
from app.jobs.plan import Plan
from models.verdicts import Verdicts
from tests import shard_runs
from tests.builders import planned
from tests.labelled import CLASSES, judge, labelled_plan, maker
from tests.shard_runs import SIDE, Painter, Ran


def digits(digest: bytes, label: int) -> NDArray[np.uint8]:
    """An image that is the digest itself; nobody asks for a class."""
    assert label == -1
    return np.frombuffer((digest * 2)[: SIDE * SIDE], np.uint8).reshape(SIDE, SIDE, 1)


def verdict(pixels: NDArray[np.uint8]) -> Verdicts:
    """The second byte decides: 7 of 8 are `often`, the others `seldom`; the third how surely."""
    labels = (pixels[:, 0, 1, 0] < 32).astype(np.int64)
    return Verdicts(labels, (pixels[:, 0, 2, 0] / np.float32(256)).astype(np.float32))


def run(plan: Plan, shard: int = 0, engine: Painter | None = None, **fields: Any) -> Ran:
    return shard_runs.run(
        plan,
        shard,
        engine or Painter(digits),
        label=lambda classifier, pixels: verdict(pixels),
        **fields,
    )


def judged(plan: Plan, model: int, shard: int, candidate: int) -> tuple[bool, int, float]:
    """Whether a candidate can be used, its label, and how sure that is."""
    made = Painter(digits).one(plan, model, shard, candidate, -1)
    labels, sure = verdict(made.pixels)
    return bool(made.finite[0]), int(labels[0]), float(sure[0])


def expected(plan: Plan, shard: int, model: int = 0) -> list[tuple[int, int]]:
    """(sample, candidate) by the rule as it is told: one candidate after the other."""
    found, cut = [], plan.shard(shard)
    assert plan.labelled_by is not None
    cells = [plan.cells[cell] for cell in cut.cells]
    open_samples = [k for k, cell in enumerate(cells) if cell.model == model]
    candidate = 0
    while open_samples:
        usable, label, sure = judged(plan, model, shard, candidate)
        fits = [k for k in open_samples if cells[k].label == label]
        if usable and sure >= plan.labelled_by.min_confidence and fits:
            found.append((cut.first + fits[0], candidate))
            open_samples.remove(fits[0])
        candidate += 1
    return sorted(found)


# Filling


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 40), st.integers(1, 25), st.integers(1, 3), st.integers(1, 70),
    st.sampled_from([0.0, 0.5, 0.9]),
)  # fmt: skip
def test_candidates_fill_the_classes_in_order(
    often: int, seldom: int, shards: int, batch: int, confidence: float
) -> None:
    plan = labelled_plan({"often": often, "seldom": seldom}, confidence)
    plan = replace(plan, shards=shards, engine_batch=batch)
    for shard in range(shards):
        assert run(plan, shard).chosen == expected(plan, shard)


def test_exactly_as_many_of_each_class_as_asked() -> None:
    plan = replace(labelled_plan({"often": 31, "seldom": 17}), shards=2)
    rows = [row for shard in range(2) for row in run(plan, shard).rows]
    assert [row.sample for row in rows] == list(range(48))
    assert Counter(plan.classes[plan.cells[row.cell].label] for row in rows) == {
        "often": 31,
        "seldom": 17,
    }


def test_files_are_in_the_folder_of_their_label() -> None:
    plan = labelled_plan({"often": 20, "seldom": 20}, confidence=0.5)
    made = run(plan)
    assert len(made.files) == 40
    for row in made.rows:
        _, label, sure = judged(plan, 0, 0, row.candidate)
        assert sure >= 0.5
        assert f"{CLASSES[label]}/{row.sample:08d}.png" in made.files
        pixels = made.images[row.sample]
        assert row.pixel_sha256 == hashlib.sha256(pixels.tobytes()).digest()


@pytest.mark.parametrize("batch", [1, 3, 64, 1000])
def test_the_batch_size_changes_nothing(batch: int) -> None:
    plan = labelled_plan({"often": 40, "seldom": 20}, confidence=0.3)
    one = run(replace(plan, engine_batch=batch))
    two = run(replace(plan, engine_batch=16))
    assert one.files == two.files
    assert one.chosen == two.chosen
    drawn = max(row.candidate for row in one.rows) + 1
    assert one.run.refused == two.run.refused == drawn - 60


def test_each_of_several_models_fills_its_own_share() -> None:
    models = [{"model": "maker", "weight": 2}, {"model": "other"}]
    body = {"models": models, "samples_per_class": 30, "labelled_by": "judge", "seed": 7}
    two_classes = judge(classes=("often", "seldom"))
    plan = planned(body, maker(), maker("other"), classifiers=(two_classes,))
    made = run(plan)
    cells = [plan.cells[row.cell] for row in made.rows]
    shares = {(0, 0): 20, (0, 1): 20, (1, 0): 10, (1, 1): 10}
    assert Counter((cell.model, cell.label) for cell in cells) == shares
    assert sorted(made.chosen) == sorted(expected(plan, 0) + expected(plan, 0, model=1))


def test_shards_share_no_image() -> None:
    plan = replace(labelled_plan({"often": 40, "seldom": 10}), shards=2)
    hashes = [row.pixel_sha256 for shard in range(2) for row in run(plan, shard).rows]
    assert len(set(hashes)) == 50


# A class that runs dry


def test_a_class_that_never_comes_is_named_with_the_figures() -> None:
    engine = Painter(digits)
    with pytest.raises(DryClassError) as dry:
        run(labelled_plan({"often": 5, "never": 3}, 0.25), factor=2.0, engine=engine)
    members = dry.value.members
    assert members["missing"] == {"never": 3}
    assert members["labelled"]["never"] == 0
    assert members["labelled"]["often"] > members["labelled"]["seldom"] > 0
    limit = most_candidates(8, 2.0, len(CLASSES))
    assert sum(engine.drawn) == limit == FEWEST_OWED * 3 * 2
    assert set(members["refused"]) == {"not-finite", "low-confidence", "other-class-full"}
    assert sum(members["refused"].values()) == limit - 5
    for words in ("'never' (3 missing, 0 labelled so)", "judge@1.0", "maker@1.0", "0.25 or more"):
        assert words in dry.value.detail
    assert f"of {limit} candidates" in dry.value.detail
    assert "'often'" not in dry.value.detail


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_limit_does_not_depend_on_the_batch(batch: int) -> None:
    engine = Painter(digits)
    plan = replace(labelled_plan({"never": 150}), engine_batch=batch)
    with pytest.raises(DryClassError):
        run(plan, factor=1.5, engine=engine)
    assert sum(engine.drawn) == 150 * 3 * 1.5


def test_a_search_that_finds_nothing_can_be_stopped() -> None:
    engine = Painter(digits)

    def stop(_: int) -> None:
        raise JobStoppedError("The job was cancelled.")

    with pytest.raises(JobStoppedError):
        run(labelled_plan({"never": 1000}), report=stop, engine=engine)
    assert sum(engine.drawn) < 10_000
