"""What may be asked for: every refusal has its class, and a sentence that says what to do."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pydantic
import pytest

from app.errors import (
    JobTooLargeError,
    UnconditionalModelError,
    UnknownClassError,
    ValidationError,
)
from app.jobs.plan import Cell
from app.jobs.request import MAX_SEED, JobRequest
from tests.builders import TEN, image, planned, spec

MODEL = {"model": "maker"}
HOSTILE = (
    "../x",
    "..",
    "",
    " bag",
    "bag ",
    "BAG",
    "CON",
    "NUL.txt",
    "a\x00b",
    "a\nb",
    "\x1b[31mred",
    "\N{RIGHT-TO-LEFT OVERRIDE}gab",
    "\N{SNOWMAN}\N{ZERO WIDTH JOINER}",
    "'; DROP TABLE jobs; --",
    "=cmd()",
    "<script>",
    "{{7*7}}",
    "x" * 10_000,
)


def body(**fields: Any) -> dict[str, Any]:
    return MODEL | fields


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"model": "maker", "samples_per_class": {"bag": "3"}},
        {"model": "maker", "samples_per_class": {"bag": 3.0}},
        {"model": "maker", "samples_per_class": {"bag": 1.5}},
        {"model": "maker", "samples_per_class": {"bag": True}},
        {"model": "maker", "samples_per_class": {"bag": None}},
        {"model": "maker", "samples_per_class": {7: 3}},
        {"model": "maker", "samples_per_class": True},
        {"model": "maker", "samples_per_class": "10"},
        {"model": "maker", "samples_per_class": [10]},
        {"model": "maker", "samples": True},
        {"model": "maker", "samples": 1.0},
        {"model": "", "samples": 1},
        {"model": "m" * 101, "samples": 1},
        {"model": 7, "samples": 1},
        {"model": "\ud800", "samples": 1},
        {"models": "maker", "samples": 1},
        {"models": [{"model": "maker"}] * 17, "samples": 1},
        {"models": [{"model": "maker", "weight": 0}], "samples": 1},
        {"models": [{"model": "maker", "weight": -1}], "samples": 1},
        {"models": [{"model": "maker", "weight": float("nan")}], "samples": 1},
        {"models": [{"model": "maker", "weight": float("inf")}], "samples": 1},
        {"models": [{"model": "maker", "weight": "1"}], "samples": 1},
        {"models": [{"model": "maker", "weight": True}], "samples": 1},
        {"models": [{"model": "maker", "wait": 1}], "samples": 1},
        {"model": "maker", "samples": 1, "seed": -1},
        {"model": "maker", "samples": 1, "seed": MAX_SEED + 1},
        {"model": "maker", "samples": 1, "seed": "7"},
        {"model": "maker", "samples": 1, "seed": 7.0},
        {"model": "maker", "samples": 1, "seed": True},
        {"model": "maker", "samples": 1, "formats": []},
        {"model": "maker", "samples": 1, "formats": ["rar"]},
        {"model": "maker", "samples": 1, "formats": "imagefolder"},
        {"model": "maker", "samples": 1, "tenant_id": "other"},
        {"model": "maker", "samples": 1, "state": "succeeded"},
        {"model": "maker", "samples": 1, "id": "job_1"},
        [],
        None,
    ],
)
def test_what_is_no_request_is_refused(document: Any) -> None:
    if not document:
        with pytest.raises((pydantic.ValidationError, ValidationError)):
            JobRequest.model_validate(document).sources()
    else:
        with pytest.raises(pydantic.ValidationError):
            JobRequest.model_validate(document)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"samples_per_class": 1}, '"model" or a non-empty list "models"'),
        ({"models": [], "samples_per_class": 1}, '"model" or a non-empty list "models"'),
        ({**MODEL, "models": [MODEL], "samples_per_class": 1}, 'either "model" or'),
        (body(), 'Give "samples_per_class"'),
        (body(samples=10), 'give "samples_per_class"'),
        (body(samples=10, samples_per_class=1), 'instead of "samples"'),
        (body(samples_per_class={}), "at least one class"),
        (body(samples_per_class=0), "at least one class"),
        (body(samples_per_class={"bag": 0, "coat": 0}), "at least one class"),
        (body(samples_per_class={"bag": -1}), "negative: bag"),
        (body(samples_per_class={"bag": 5, "coat": -5}), "negative: coat"),
        (body(samples_per_class=-3), "negative"),
        (body(samples_per_class={"bag": -(10**12)}), "negative"),
        ({"models": [MODEL, MODEL], "samples_per_class": 1}, "named twice"),
    ],
)
def test_a_request_that_makes_no_job_says_why(document: dict[str, Any], words: str) -> None:
    specs = [spec()] * max(1, len(document.get("models", [])))
    with pytest.raises(ValidationError) as refusal:
        planned(document, *specs)
    assert type(refusal.value) is ValidationError
    assert words in refusal.value.detail


@pytest.mark.parametrize("name", HOSTILE)
def test_unknown_classes_are_named_harmlessly(name: str) -> None:
    with pytest.raises(UnknownClassError) as refusal:
        planned(body(samples_per_class={name: 3, "bag": 2}))
    detail = refusal.value.detail
    assert detail.isascii()
    assert detail.isprintable()
    assert len(detail) < 2_000
    assert "bag" in detail
    assert refusal.value.members["known_classes"] == list(TEN)


def test_many_unknown_classes_make_a_short_sentence() -> None:
    with pytest.raises(UnknownClassError) as refusal:
        planned(body(samples_per_class={f"unknown-{k}": 1 for k in range(10_000)}))
    assert len(refusal.value.detail) < 1_000


@pytest.mark.parametrize(
    "wanted", [10**8 + 1, 10**12, 2**63, 10**300, {"bag": 10**8, "coat": 1}, {"bag": 10**12}]
)
def test_too_many_samples_are_refused_without_computing_them(wanted: Any) -> None:
    with pytest.raises(JobTooLargeError) as refusal:
        planned(body(samples_per_class=wanted))
    assert refusal.value.status == 422
    assert "100000000" in refusal.value.detail
    assert refusal.value.members["limit"] == 100_000_000


def test_a_number_that_python_will_not_print_is_refused_too() -> None:
    """Ten times a number of 4,300 digits has more digits than `str` may write."""
    with pytest.raises(JobTooLargeError) as refusal:
        planned(body(samples_per_class=9 * 10**4299))
    assert len(refusal.value.detail) < 300


def test_the_largest_job_is_planned_at_once() -> None:
    began = time.process_time()
    plan = planned(body(samples_per_class=10**7))
    assert plan.samples == 10**8
    assert plan.shards == 20_000
    assert time.process_time() - began < 5


def test_one_number_asks_for_every_class() -> None:
    plan = planned(body(samples_per_class=3))
    assert plan.samples_per_class == dict.fromkeys(TEN, 3)
    assert plan.classes == TEN


def test_a_class_with_zero_stays_in_the_dataset_without_samples() -> None:
    plan = planned(body(samples_per_class={"coat": 0, "bag": 2}))
    assert plan.samples_per_class == {"bag": 2}
    assert plan.classes == TEN
    assert plan.cells == (Cell(model=0, label=8, condition=8, count=2),)


def test_seed_and_content_are_pinned() -> None:
    one = spec()
    plan = planned(body(samples_per_class=1, seed=MAX_SEED), one, seed=MAX_SEED)
    assert plan.seed == MAX_SEED
    assert plan.models[0].sha256 == one.sha256
    assert plan.models[0].ref == "maker@1.0"


# Several models


def mixture(*entries: tuple[str, float], **fields: Any) -> dict[str, Any]:
    return {"models": [{"model": name, "weight": weight} for name, weight in entries], **fields}


def test_weights_share_each_class_by_largest_remainder() -> None:
    document = mixture(("a", 0.7), ("b", 0.3), samples_per_class={"bag": 10, "coat": 3})
    plan = planned(document, spec("a"), spec("b"))
    assert {(c.model, plan.classes[c.label]): c.count for c in plan.cells} == {
        (0, "bag"): 7,
        (1, "bag"): 3,
        (0, "coat"): 2,
        (1, "coat"): 1,
    }
    assert plan.samples_per_class == {"coat": 3, "bag": 10}


def test_a_class_of_one_model_comes_from_it_alone() -> None:
    some, others = spec("a", ("cat", "dog")), spec("b", ("dog", "owl"))
    plan = planned(mixture(("a", 1), ("b", 3), samples_per_class=4), some, others)
    assert plan.classes == ("cat", "dog", "owl")
    assert plan.cells == (
        Cell(model=0, label=0, condition=0, count=4),
        Cell(model=0, label=1, condition=1, count=1),
        Cell(model=1, label=1, condition=0, count=3),
        Cell(model=1, label=2, condition=1, count=4),
    )


def test_models_of_different_sizes_do_not_mix() -> None:
    with pytest.raises(ValidationError, match="one size"):
        planned(
            mixture(("a", 1), ("b", 1), samples_per_class=1),
            spec("a"),
            spec("b", image=image(8, 8)),
        )


def test_conditional_and_unconditional_models_do_not_mix() -> None:
    with pytest.raises(ValidationError, match="mix models"):
        planned(mixture(("a", 1), ("b", 1), samples_per_class=1), spec("a"), spec("b", ()))


# A model that can't be asked for a class


def test_an_unconditional_model_takes_a_number() -> None:
    plan = planned(body(samples=25), spec(classes=()))
    assert plan.samples_per_class == {"unlabelled": 25}
    assert plan.cells == (Cell(model=0, label=0, condition=-1, count=25),)


@pytest.mark.parametrize("wanted", [3, {"bag": 3}, {"unlabelled": 3}])
def test_an_unconditional_model_refuses_quotas_and_says_why(wanted: Any) -> None:
    with pytest.raises(UnconditionalModelError) as refusal:
        planned(body(samples_per_class=wanted), spec(classes=()))
    assert "trained without labels" in refusal.value.detail
    assert '"samples": N' in refusal.value.detail


@pytest.mark.parametrize(
    ("fields", "words"),
    [({}, 'give "samples"'), ({"samples": 0}, "Nothing"), ({"samples": -1}, "negative")],
)
def test_an_unconditional_model_needs_a_positive_number(fields: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        planned(body(**fields), spec(classes=()))


def test_unconditional_models_share_by_weight() -> None:
    plan = planned(mixture(("a", 3), ("b", 1), samples=8), spec("a", ()), spec("b", ()))
    assert [(cell.model, cell.count) for cell in plan.cells] == [(0, 6), (1, 2)]


def test_a_copy_of_a_spec_has_an_identity_of_its_own() -> None:
    one = spec()
    assert one.sha256 == hashlib.sha256(one.canonical()).hexdigest()
    other = one.model_copy(update={"licence": "MIT"})
    assert other.sha256 == hashlib.sha256(other.canonical()).hexdigest() != one.sha256
    assert one.model_copy() == one
