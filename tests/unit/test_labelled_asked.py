"""What may be asked for of models that take no class, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic
import pytest

from app.datasets.imagefolder import dataset_document
from app.errors import (
    UnconditionalModelError,
    UnknownClassError,
    UnknownClassifierError,
    ValidationError,
)
from app.jobs.pilot import Pilot, labelling
from app.jobs.plan import Plan
from app.jobs.request import JobRequest
from models.classifier_spec import ClassifierSpec
from tests.builders import image, planned, spec
from tests.labelled import CLASSES, judge, labelled_plan, maker
from tests.shard_runs import SIDE


def ask(body: dict[str, Any], *specs: Any, known: tuple[ClassifierSpec, ...] | None = None) -> Plan:
    judges = (judge(),) if known is None else known
    return planned({"model": "maker"} | body, *(specs or (maker(),)), classifiers=judges)


def test_the_classifier_is_pinned_and_survives_storage() -> None:
    plan = ask({"samples_per_class": 3, "labelled_by": "judge"})
    assert plan.labelled_by is not None
    assert plan.labelled_by.sha256 == judge().sha256
    assert plan.labelled_by.min_confidence == 0
    assert plan.samples_per_class == dict.fromkeys(CLASSES, 3)
    assert Plan.from_json(plan.to_json()) == plan
    assert b'"labelled_by"' in dataset_document(plan, ["Apache-2.0"])
    assert judge().sha256.encode() in dataset_document(plan, ["Apache-2.0"])


def test_a_plan_of_before_there_were_labels_is_read() -> None:
    document = ask({"samples": 5}).to_json()
    del document["labelled_by"]
    assert Plan.from_json(document).labelled_by is None


def test_the_name_alone_means_the_newest_that_fits() -> None:
    known = (judge(version="1.9"), judge(version="1.10"), judge(version="2.0", image=image(9, 9)))
    plan = ask({"samples_per_class": 3, "labelled_by": "judge"}, known=known)
    assert plan.labelled_by is not None
    assert plan.labelled_by.version == "1.10"
    older = ask({"samples_per_class": 3, "labelled_by": "judge@1.9"}, known=known)
    assert older.labelled_by is not None
    assert older.labelled_by.version == "1.9"


def test_a_refusal_without_a_classifier_names_those_that_fit() -> None:
    with pytest.raises(UnconditionalModelError, match='"labelled_by": "judge"') as refused:
        ask({"samples_per_class": 3})
    assert refused.value.members["classifiers"] == ["judge"]
    with pytest.raises(UnconditionalModelError) as refused:
        ask({"samples_per_class": 3}, known=(judge(image=image(9, 9)),))
    assert "labelled_by" not in refused.value.detail


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ({"labelled_by": "stranger", "samples_per_class": 3}, UnknownClassifierError, "judge@1.0"),
        ({"labelled_by": "judge@7", "samples_per_class": 3}, UnknownClassifierError, "judge@1.0"),
        ({"labelled_by": "\x1b[31m", "samples_per_class": 3}, UnknownClassifierError, "x1b"),
        ({"labelled_by": "judge", "samples": 3}, ValidationError, "samples_per_class"),
        ({"labelled_by": "judge"}, ValidationError, "samples_per_class"),
        ({"labelled_by": "judge", "samples_per_class": {"hat": 3}}, UnknownClassError, "often"),
        ({"labelled_by": "judge", "samples_per_class": 0}, ValidationError, "positive"),
        ({"labelled_by": "judge", "samples_per_class": {"often": -1}}, ValidationError, "negative"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    body: dict[str, Any], error: type[ValidationError], words: str
) -> None:
    with pytest.raises(error) as refused:
        ask(body)
    assert type(refused.value) is error
    assert words in refused.value.detail


def test_a_classifier_of_other_images_is_refused() -> None:
    known = (judge(image=image(9, 9)),)
    with pytest.raises(UnknownClassifierError, match="another size") as refused:
        ask({"labelled_by": "judge", "samples_per_class": 3}, known=known)
    assert refused.value.members["classifiers"] == []


def test_a_model_that_takes_a_class_is_not_labelled() -> None:
    conditional = spec("maker", ("a", "b"), image=image(SIDE, SIDE))
    with pytest.raises(ValidationError, match="by class already"):
        ask({"labelled_by": "judge", "samples_per_class": 3}, conditional)


@pytest.mark.parametrize(
    "labelled_by",
    [
        "", 7, [], {}, True, "x" * 101, {"classifier": "judge", "min_confidence": 1.1},
        {"classifier": "judge", "min_confidence": -0.1}, {"classifier": "judge", "sure": 1},
        {"classifier": "judge", "min_confidence": "0.5"}, {"min_confidence": 0.5},
        {"classifier": "judge", "min_confidence": float("nan")},
        {"classifier": "judge", "min_confidence": True},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_labeller_is_malformed(labelled_by: object) -> None:
    with pytest.raises(pydantic.ValidationError):
        JobRequest.model_validate({"model": "maker", "labelled_by": labelled_by})


# What it costs


def pilot(*labels: int, sure: float = 0.9) -> Pilot:
    count = len(labels)
    return Pilot(np.ones(count, np.bool_), np.array(labels), np.full(count, sure, np.float32))


def test_the_cost_follows_from_the_shares_of_the_pilot() -> None:
    plan = labelled_plan({"often": 30, "seldom": 20})
    cost = labelling(plan, [pilot(0, 0, 0, 1)])
    assert cost is not None
    assert cost.candidates_per_class == {"often": 40, "seldom": 80}
    assert cost.candidates == 80
    assert cost.pilot_candidates == 4
    assert "measured" in cost.basis


def test_several_models_add_up() -> None:
    models = [{"model": "maker"}, {"model": "other"}]
    body = {"models": models, "samples_per_class": {"often": 20, "seldom": 20}}
    plan = planned(body | {"labelled_by": "judge"}, maker(), maker("other"), classifiers=(judge(),))
    cost = labelling(plan, [pilot(0, 1), pilot(0, 0, 0, 1)])
    assert cost is not None
    assert cost.candidates_per_class == {"often": 34, "seldom": 60}
    assert cost.candidates == 20 + 40


@pytest.mark.parametrize("sure", [0.9, 0.2])
def test_a_class_that_the_pilot_never_met_is_told(sure: float) -> None:
    cost = labelling(labelled_plan({"often": 3, "never": 2}, 0.5), [pilot(0, 1, sure=sure)])
    assert cost is not None
    assert cost.candidates_per_class is not None
    assert cost.candidates_per_class["never"] is None
    assert cost.candidates is None
    assert "never" in cost.basis


def test_without_a_worker_it_is_not_measured() -> None:
    cost = labelling(labelled_plan({"often": 3}), None)
    assert cost is not None
    assert cost.candidates is None
    assert "not measured" in cost.basis


def test_what_is_not_labelled_costs_nothing() -> None:
    assert labelling(ask({"samples": 5}), None) is None
