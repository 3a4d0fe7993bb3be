"""Jobs with checks: exactly N that pass, whoever looks; the same ones whatever the batches."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.checks.appearance import brightness, contrast
from app.checks.planned import PlannedChecks, Range
from app.datasets.imagefolder import dataset_document
from app.errors import DryClassError, JobStoppedError
from app.jobs.filling import ROUND
from app.jobs.openings import FEWEST_OWED
from app.jobs.plan import Cell, Plan
from app.jobs.request import JobRequest
from tests.builders import image, plan_of, planned, spec
from tests.shard_runs import SIDE, Painter, run

LIGHT = PlannedChecks(brightness=Range(0.3, 0.6))


def checked(counts: list[int], shards: int = 1, checks: PlannedChecks = LIGHT, **f: Any) -> Plan:
    return plan_of(counts, shards, image=image(SIDE, SIDE), checks=checks, **f)


def passes(pixels: Any) -> bool:
    return 0.3 <= float(np.mean(pixels / 255)) <= 0.6


def expected(plan: Plan, shard: int) -> tuple[list[tuple[int, int]], Counter[str]]:
    """(sample, candidate) and refusals of one model, by the rule as it is told."""
    cut, painter = plan.shard(shard), Painter()
    found: dict[int, int] = {}
    refused: Counter[str] = Counter()
    wanted, first = list(range(cut.size)), 0
    while wanted:
        times = max(1, ROUND // len(wanted)) if first else 1
        for candidate, position in enumerate(wanted * times, first):
            if position in found:
                continue
            label = plan.cells[cut.cells[position]].condition
            made = painter.one(plan, 0, shard, candidate, label)
            if not made.finite[0]:
                refused["not-finite"] += 1
            elif not passes(made.pixels[0]):
                refused["brightness"] += 1
            else:
                found[position] = candidate
        first += len(wanted) * times
        wanted = [position for position in wanted if position not in found]
    return [(cut.first + k, found[k]) for k in sorted(found)], refused


# What is measured


@pytest.mark.parametrize("shape", [(28, 28, 1), (5, 7, 3), (1, 1, 4)])
def test_brightness_and_contrast_are_mean_and_deviation(shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(3).integers(0, 256, (20, *shape)).astype(np.uint8)
    images[0], images[1] = 0, 255
    flat = images.reshape(20, -1) / 255
    assert brightness(images) == pytest.approx(flat.mean(axis=1), abs=1e-12)
    assert contrast(images) == pytest.approx(flat.std(axis=1), abs=1e-12)
    assert contrast(images)[:2].tolist() == [0, 0]


# Exactly N that pass


@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 70))
def test_the_first_that_passes_fills_each_sample(
    counts: list[int], shards: int, batch: int
) -> None:
    plan = checked(counts, shards, engine_batch=batch)
    for shard in range(shards):
        ran = run(plan, shard)
        chosen, refused = expected(plan, shard)
        assert ran.chosen == chosen
        assert {name: n for name, n in ran.run.reasons.items() if n} == refused


def test_every_image_of_the_archive_is_within_the_bounds() -> None:
    both = PlannedChecks(brightness=Range(0.2, 0.7), contrast=Range(0.03, 1.0))
    ran = run(checked([150, 90], checks=both))
    assert len(ran.images) == 240
    for pixels in ran.images.values():
        assert 0.2 <= np.mean(pixels / 255) <= 0.7
        assert np.std(pixels / 255) >= 0.03
    assert ran.run.reasons["brightness"] > 0
    assert ran.run.reasons["contrast"] > 0


def test_refusals_are_counted_for_the_class_that_was_asked() -> None:
    def paint(digest: bytes, label: int) -> Any:
        return np.full((SIDE, SIDE, 1), 128 if label or digest[0] % 2 else 0, np.uint8)

    ran = run(checked([60, 60]), engine=Painter(paint))
    by_class = ran.run.reasons_by_class
    assert by_class["class-0", "brightness"] == ran.run.reasons["brightness"] > 0
    assert ("class-1", "brightness") not in by_class
    assert sum(by_class.values()) == ran.run.refused


def test_two_models_fill_their_own_samples() -> None:
    body = {"models": [{"model": "a"}, {"model": "b"}], "samples_per_class": 30}
    shape = {"image": image(SIDE, SIDE)}
    asked = body | {"checks": {"brightness": {"min": 0.3, "max": 0.6}}}
    plan = planned(asked, spec("a", ("cat", "dog"), **shape), spec("b", ("dog", "cat"), **shape))
    ran = run(plan)
    assert [row.sample for row in ran.rows] == list(range(60))
    assert Counter(plan.cells[row.cell].model for row in ran.rows) == {0: 30, 1: 30}
    assert all(passes(pixels) for pixels in ran.images.values())


def test_a_model_without_classes_is_checked_too() -> None:
    ran = run(checked([40], cells=(Cell(0, 0, -1, 40),)))
    assert len(ran.images) == 40
    assert all(passes(pixels) for pixels in ran.images.values())


def test_two_runs_give_equal_bytes() -> None:
    plan = checked([50, 20], engine_batch=8)
    assert run(plan).content == run(plan).content


# A class that runs dry


def never_one(digest: bytes, label: int) -> Any:
    return np.full((SIDE, SIDE, 1), 0 if label == 1 else 128, np.uint8)


def test_a_dry_class_says_its_figures() -> None:
    painter = Painter(never_one)
    with pytest.raises(DryClassError) as dry:
        run(checked([20, 20]), engine=painter, factor=3.0)
    members = dry.value.members
    assert sum(painter.drawn) == FEWEST_OWED * 3
    assert members["missing"] == {"class-1": 20}
    assert members["refused"] == members["refused"] | {
        "brightness": members["refused_by_class"]["class-1"]["brightness"]
    }
    assert members["refused_by_class"].keys() == {"class-1"}
    count = members["refused"]["brightness"]
    for words in ("'class-1' (20 missing", f"{count} brightness", "300 candidates", "bounds of"):
        assert words in dry.value.detail
    assert "class-0" not in dry.value.detail


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_limit_does_not_depend_on_the_batch(batch: int) -> None:
    painter = Painter(never_one)
    with pytest.raises(DryClassError) as dry:
        run(checked([150, 150], engine_batch=batch), engine=painter, factor=2.5)
    assert sum(painter.drawn) == 750
    assert dry.value.members["missing"] == {"class-1": 150}


def test_a_search_that_finds_nothing_can_be_stopped() -> None:
    painter = Painter(lambda digest, label: np.zeros((SIDE, SIDE, 1), np.uint8))

    def stop(_: int) -> None:
        raise JobStoppedError("The job was cancelled.")

    with pytest.raises(JobStoppedError):
        run(checked([1000]), engine=painter, report=stop)
    assert sum(painter.drawn) < 1000


# What may be asked for


def ask(checks: Any) -> Plan:
    return planned({"model": "maker", "samples_per_class": 3, "checks": checks})


def test_a_plan_keeps_its_checks() -> None:
    plan = ask({"brightness": {"min": 0.1}, "contrast": {"max": 0.5}})
    assert plan.checks == PlannedChecks(Range(0.1, 1.0), Range(0.0, 0.5))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    said = json.loads(dataset_document(plan, ["Apache-2.0"]))["checks"]
    assert said == {
        "brightness": {"least": 0.1, "most": 1.0},
        "contrast": {"least": 0.0, "most": 0.5},
    }


@pytest.mark.parametrize("checks", [None, {}], ids=repr)
def test_without_checks_a_plan_is_what_it_was(checks: Any) -> None:
    plan = ask(checks)
    assert plan == planned({"model": "maker", "samples_per_class": 3})
    assert "checks" not in plan.to_json()
    assert b"checks" not in dataset_document(plan, ["Apache-2.0"])
    assert Plan.from_json(plan.to_json()) == replace(plan, checks=None)


@pytest.mark.parametrize(
    "checks",
    [
        7, [], "brightness", {"brightness": {}}, {"brightness": 0.5}, {"sharpness": {"min": 0.1}},
        {"brightness": {"min": 0.6, "max": 0.4}}, {"brightness": {"min": -0.1}},
        {"brightness": {"max": 1.1}}, {"contrast": {"min": "0.1"}}, {"contrast": {"min": True}},
        {"contrast": {"min": float("nan")}}, {"contrast": {"least": 0.1}},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_check_is_malformed(checks: object) -> None:
    with pytest.raises(pydantic.ValidationError):
        JobRequest.model_validate({"model": "maker", "checks": checks})
