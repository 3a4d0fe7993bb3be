"""Balance: what real images lack, by hand-made counts and by what any answer must have."""

from __future__ import annotations

from fractions import Fraction

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UnknownClassError, ValidationError
from app.jobs.balance import Balance, Distribution, Ratio, Target, lacking
from tests.builders import planned, spec

COUNTS = {"bag": 10, "coat": 4, "shirt": 0}


@pytest.mark.parametrize(
    ("to", "missing"),
    [
        ("max", {"coat": 6, "shirt": 10}),
        (4, {"shirt": 4}),
        (12, {"bag": 2, "coat": 8, "shirt": 12}),
        (Ratio(ratio=0.5), {"coat": 1, "shirt": 5}),
        (Ratio(ratio=1), {"coat": 6, "shirt": 10}),
        (Ratio(ratio=0.05), {"shirt": 1}),
        (Distribution(distribution={"bag": 2, "coat": 1, "shirt": 1}), {"coat": 1, "shirt": 5}),
        (Distribution(distribution={"bag": 1, "coat": 4}), {"coat": 36}),
        (Distribution(distribution={"bag": 1, "coat": 1, "hat": 2}), {"coat": 6, "hat": 20}),
    ],
    ids=str,
)
def test_what_is_missing(to: Target, missing: dict[str, int]) -> None:
    assert lacking(COUNTS, to) == missing


@pytest.mark.parametrize("to", [1, Ratio(ratio=0.25)], ids=str)
def test_nothing_missing_is_said(to: Target) -> None:
    with pytest.raises(ValidationError, match="Nothing is missing"):
        lacking({"bag": 4, "coat": 1}, to)


def test_a_distribution_may_not_leave_out_real_images() -> None:
    with pytest.raises(ValidationError, match="no share to 'coat'"):
        lacking(COUNTS, Distribution(distribution={"bag": 1}))


counts = st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 10**9), min_size=1)


@given(counts, st.data())
def test_a_distribution_is_met_within_one_image(real: dict[str, int], data: st.DataObject) -> None:
    shares = {name: data.draw(st.floats(1e-3, 1e3), name) for name in real}
    try:
        missing = lacking(real, Distribution(distribution=shares))
    except ValidationError:
        missing = {}
    total = {name: count + missing.get(name, 0) for name, count in real.items()}
    scale = max(Fraction(real[name]) / Fraction(shares[name]) for name in real)
    for name, count in total.items():
        assert 0 <= count - scale * Fraction(shares[name]) < 1


@given(counts)
def test_the_largest_class_gets_nothing(real: dict[str, int]) -> None:
    if len(set(real.values())) == 1:
        return
    missing = lacking(real, "max")
    assert {count + missing.get(name, 0) for name, count in real.items()} == {max(real.values())}


@pytest.mark.parametrize(
    "asked",
    [{}, {"counts": {"bag": 1}, "dataset": "ds_1"}, {"counts": {}}, {"counts": {"bag": -1}},
     {"counts": {"bag": 1}, "to": 0}, {"counts": {"bag": 1}, "to": {"ratio": 1.5}},
     {"counts": {"bag": 1}, "to": "min"}, {"counts": {"bag": 1}, "to": {"distribution": {}}},
     {"counts": {"bag": 1}, "to": {"distribution": {"bag": 0}}}],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Balance.model_validate(asked)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("ma", 'Give "max", a whole number'), (0.5, 'Give "max", a whole number'),
        ({"ratio": 2}, "less than or equal to 1"),
        (0, "greater than or equal to 1"), ({"distribution": {}}, "at least 1 item"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_target_is_said_once(to: object, said: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        Balance.model_validate({"counts": {"a": 1}, "to": to})
    [error] = refused.value.errors()
    assert error["loc"][0] == "to"
    assert said in error["msg"]


def test_a_plan_asks_for_what_is_missing_and_keeps_what_there_was() -> None:
    plan = planned(
        {"model": "maker", "balance": {"counts": {"a": 5, "b": 2, "c": 5}}},
        spec(classes=("a", "b", "c")),
    )
    assert plan.samples_per_class == {"b": 3}
    assert plan.real_samples_per_class == {"a": 5, "b": 2, "c": 5}


def test_a_class_that_no_model_covers_is_refused_unless_it_lacks_nothing() -> None:
    maker = spec(classes=("a", "b"))
    full = {"model": "maker", "balance": {"counts": {"a": 5, "b": 2, "z": 5}}}
    assert planned(full, maker).samples_per_class == {"b": 3}
    short = {"model": "maker", "balance": {"counts": {"a": 5, "b": 2, "z": 4}}}
    with pytest.raises(UnknownClassError, match="Unknown class 'z'") as refused:
        planned(short, maker)
    assert refused.value.problem()["known_classes"] == ["a", "b"]


def test_balance_takes_the_place_of_quotas() -> None:
    both = {"model": "maker", "samples_per_class": 3, "balance": {"counts": {"a": 5, "b": 2}}}
    with pytest.raises(ValueError, match="takes the place"):
        planned(both)
