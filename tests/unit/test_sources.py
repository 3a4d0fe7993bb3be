"""Several models in one job: which draws what, how many, under which name."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import UnknownClassError, ValidationError
from app.jobs.plan import Plan
from tests.builders import planned, spec

GAN = spec("gan", ("a", "b", "c"))
VAE = spec("vae", ("a", "b", "c"))


def fused(*models: dict[str, Any], quotas: Any = 10) -> Plan:
    specs = {"gan": GAN, "vae": VAE, "other": spec("other", ("x", "y"))}
    body = {"models": list(models), "samples_per_class": quotas}
    return planned(body, *[specs[model["model"]] for model in models])


def by_model(plan: Plan) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for cell in plan.cells:
        own = found.setdefault(plan.models[cell.model].name, {})
        own[plan.classes[cell.label]] = cell.count
    return found


def test_one_class_from_one_model_and_the_rest_from_another() -> None:
    plan = fused({"model": "vae", "classes": ["b"]}, {"model": "gan", "classes": ["a", "c"]})
    assert by_model(plan) == {"vae": {"b": 10}, "gan": {"a": 10, "c": 10}}


def test_a_weight_of_zero_leaves_a_class_to_the_others() -> None:
    plan = fused({"model": "gan", "classes": {"b": 0}}, {"model": "vae", "classes": ["b"]})
    assert by_model(plan) == {"gan": {"a": 10, "c": 10}, "vae": {"b": 10}}


def test_weights_by_class_are_apportioned_by_largest_remainder() -> None:
    plan = fused({"model": "gan", "weight": 2, "classes": {"c": 5}}, {"model": "vae"})
    assert by_model(plan) == {
        "gan": {"a": 7, "b": 7, "c": 8},
        "vae": {"a": 3, "b": 3, "c": 2},
    }
    assert plan.samples == 30


def test_models_that_name_classes_differently_meet_in_one_class() -> None:
    plan = fused({"model": "gan"}, {"model": "other", "class_map": {"x": "b", "y": "d"}})
    assert plan.classes == ("a", "b", "c", "d")
    assert by_model(plan) == {"gan": {"a": 10, "b": 5, "c": 10}, "other": {"b": 5, "d": 10}}
    conditions = {
        (plan.models[cell.model].name, plan.classes[cell.label]): cell.condition
        for cell in plan.cells
    }
    assert conditions["other", "b"] == 0  # its own label of x
    assert conditions["other", "d"] == 1
    assert conditions["gan", "b"] == 1


def test_a_class_that_every_model_leaves_out_cannot_be_asked_for() -> None:
    with pytest.raises(UnknownClassError, match="can ask for: a, b"):
        fused({"model": "gan", "classes": {"c": 0}}, quotas={"c": 1})
    only = fused({"model": "gan", "classes": {"c": 0}})
    assert only.samples_per_class == {"a": 10, "b": 10}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"class_map": {"z": "b"}}, '"class_map" of "gan" names \'z\''),
        ({"class_map": {"a": "b"}}, "calls two of its classes 'b'"),
        ({"classes": ["z"]}, '"classes" of "gan" names \'z\''),
        ({"class_map": {"a": "q"}, "classes": ["a"]}, "names 'a', which is none of: q, b, c"),
    ],
    ids=str,
)
def test_names_that_no_one_knows_are_refused(model: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        fused({"model": "gan", **model})
    assert said in str(refused.value)


def test_names_may_be_swapped() -> None:
    plan = fused({"model": "gan", "class_map": {"a": "b", "b": "a"}}, quotas={"a": 3})
    (cell,) = plan.cells
    assert (plan.classes[cell.label], cell.condition) == ("a", 1)


def test_a_model_without_classes_has_none_to_rename() -> None:
    body = {"models": [{"model": "plain", "class_map": {"unlabelled": "a"}}], "samples": 3}
    with pytest.raises(ValidationError, match="takes no class"):
        planned(body, spec("plain", ()))
