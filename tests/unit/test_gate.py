"""Gates: how they are written, what they refuse, what passes."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import UnknownFigureError, ValidationError
from app.jobs.asked_report import AskedReport, conditions_of
from app.quality.gate import AskedGate, Condition, judge, read_condition, read_gate
from app.quality.known_figures import KNOWN
from models.evaluation.estimate import Figure

HOSTILE = (
    "", "   ", ">=", "kid", "kid=0.05", "kid==0.05", "kid<=", "<=0.05", "kid<=five", "kid<=0.05;x",
    "kid<=0x10", "kid<=nan", "kid<=inf", "kid<=1e", "kid<=0.05%%", "\x00<=1", "kid\n<=0,05",
    "kid<=" + "9" * 5_000, "[" * 390 + "<1", "kid/" * 300 + "<=1",
)  # fmt: skip


def figure(value: float | None, reason: str | None = None) -> Figure:
    return Figure(value=value, synthetic=100, reason=reason)


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ({"label_agreement": 0.95}, "label_agreement>=0.95"),
        ({"lift": 0}, "lift>=0.0"),
        ({"kid": 0.05}, "kid<=0.05"),
        ({"kid": "<0.05"}, "kid<0.05"),
        ({"near_duplicates": "<2%"}, "near_duplicates<0.02"),
        (["kid<=0.05"], "kid<=0.05"),
        ([" kid <= 5e-2 "], "kid<=0.05"),
        (["lift>=-.5"], "lift>=-0.5"),
        (["label_agreement>=+95.5%"], "label_agreement>=0.955"),
        (["label_agreement/bag>0.9"], "label_agreement/bag>0.9"),
        (["label_agreement/a>=b / <c>>=0.9"], "label_agreement/a>=b / <c>>=0.9"),
        (["recall/*>=0.5"], "recall/*>=0.5"),
        ({"recall/*": 0.5}, "recall/*>=0.5"),
        ({"kid/T-shirt": "<=1"}, "kid/T-shirt<=1.0"),
    ],
)
def test_a_gate_is_read_and_can_be_written_down(asked: AskedGate, read: str) -> None:
    (condition,) = read_gate(asked)
    assert str(condition) == read
    assert read_condition(str(condition)) == condition


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read_gate([text])
    assert refused.value.status == 422
    assert refused.value.detail.isascii() or "…" in refused.value.detail
    assert len(refused.value.detail) < 500


def test_an_unknown_figure_is_answered_with_those_that_are_known() -> None:
    for gate in ({"beauty": 1.0}, ["beauty>=1"], {"beauty": ">=1"}):
        with pytest.raises(UnknownFigureError) as refused:
            read_gate(gate)
        assert refused.value.members["known_figures"] == list(KNOWN)
        assert "kid" in refused.value.detail


@pytest.mark.parametrize("text", ["kid>=0.05", "label_agreement<0.9", "copies>1%", "lift<=0"])
def test_a_condition_that_wants_a_figure_to_be_bad_is_a_mistake(text: str) -> None:
    with pytest.raises(ValidationError, match="is better the"):
        read_gate([text])


def test_a_figure_without_classes_has_none() -> None:
    with pytest.raises(ValidationError, match="whole dataset"):
        read_gate(["copies/bag<=0.01"])


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("kid<=0.05", 0.05, True),
        ("kid<0.05", 0.05, False),
        ("kid<=0.05", 0.051, False),
        ("kid<=0.05", -0.001, True),
        ("label_agreement>=0.95", 0.95, True),
        ("label_agreement>0.95", 0.95, False),
        ("lift>=0", 0.0, True),
        ("lift>=0", -1e-9, False),
        ("copies<2%", 0.019, True),
    ],
)
def test_a_condition_holds_or_does_not(text: str, value: float, holds: bool) -> None:
    condition = read_condition(text)
    outcome = judge([condition], {condition.figure: figure(value)})
    assert outcome is not None
    assert outcome.passed is holds
    assert outcome.conditions[0].value == value
    assert str(condition) in outcome.sentence


def test_a_gate_is_passed_only_when_every_condition_holds() -> None:
    figures = {"kid": figure(0.01), "recall": figure(0.2)}
    outcome = judge(read_gate(["kid<=0.05", "recall>=0.5"]), figures)
    assert outcome is not None
    assert not outcome.passed
    assert [each.holds for each in outcome.conditions] == [True, False]
    assert "recall>=0.5, but it is 0.2" in outcome.sentence
    assert "kid" not in outcome.sentence
    assert judge([], figures) is None


def test_a_figure_that_is_absent_fails_with_its_reason() -> None:
    figures = {"fid": figure(None, "only 30 samples, and FID means nothing below 2,048")}
    outcome = judge(read_gate(["fid<=50", "kid<=0.05", "recall/*>=0.5"]), figures)
    assert outcome is not None
    assert not outcome.passed
    fid, kid, recall = outcome.conditions
    assert "only 30 samples" in (fid.reason or "")
    assert kid.reason == "the report has no kid"
    assert recall.reason == "the report has no recall/*"


def test_every_class_means_the_worst_one() -> None:
    figures = {
        "label_agreement": figure(0.95),
        "label_agreement/bag": figure(0.99),
        "label_agreement/shirt": figure(0.71),
    }
    outcome = judge(read_gate(["label_agreement/*>=0.8", "label_agreement>=0.9"]), figures)
    assert outcome is not None
    assert [each.holds for each in outcome.conditions] == [False, True]
    assert outcome.conditions[0].value == 0.71
    assert outcome.conditions[0].reason == "the worst is label_agreement/shirt"


# What a job may ask for


AGAINST: dict[str, Any] = {"against": "ds_1"}


@pytest.mark.parametrize(
    ("gate", "report", "missing"),
    [
        (["label_agreement>=0.9"], None, None),
        (["kid<=0.05"], None, "against"),
        (["kid<=0.05"], AGAINST, None),
        (["lift>=0"], AGAINST, "lift"),
        (["lift>=0"], AGAINST | {"lift": True}, None),
        ([], None, None),
    ],
)
def test_a_gate_on_what_will_not_be_measured_is_refused_at_once(
    gate: list[str], report: dict[str, Any] | None, missing: str | None
) -> None:
    asked = AskedReport.model_validate(report) if report else None
    if missing is None:
        assert len(conditions_of(gate, asked)) == len(gate)
        return
    with pytest.raises(ValidationError, match=missing):
        conditions_of(gate, asked)


def test_a_condition_is_its_own_text() -> None:
    assert str(Condition("kid", "<=", 0.1 + 0.2)) == "kid<=0.30000000000000004"
