"""The request that a report shows gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from app.db.tables import Job
from app.jobs.again import again_of, request_of
from models.spec import ModelSpec
from tests.builders import planned, spec

CATS, DOGS = spec("cats", ("tabby", "siamese")), spec("dogs", ("tabby", "husky", "pug"))
REQUESTS: dict[str, tuple[Mapping[str, Any], tuple[ModelSpec, ...]]] = {
    "one model": ({"model": "maker", "samples_per_class": {"bag": 5, "top": 2}}, (spec(),)),
    "no classes": ({"model": "maker", "samples": 9}, (spec(classes=()),)),
    "shaped latents": (
        {
            "model": "maker",
            "samples_per_class": 3,
            "sampling": {"truncation": 0.7, "temperature": 1.5},
        },
        (spec(),),
    ),
    "other names": (
        {
            "models": [{"model": "cats", "class_map": {"tabby": "striped"}}],
            "samples_per_class": {"striped": 4},
        },
        (CATS,),
    ),
    "two models": (
        {
            "models": [{"model": "cats", "weight": 2.0}, {"model": "dogs", "weight": 1.0}],
            "samples_per_class": {"tabby": 10, "pug": 3},
        },
        (CATS, DOGS),
    ),
    "two models by class": (
        {
            "models": [
                {"model": "cats", "classes": {"tabby": 0.25}},
                {"model": "dogs", "classes": ["tabby", "wolf"], "class_map": {"husky": "wolf"}},
            ],
            "samples_per_class": {"tabby": 11, "wolf": 4},
        },
        (CATS, DOGS),
    ),
    "transformed and unmarked": (
        {
            "model": "maker",
            "samples_per_class": 4,
            "transforms": [{"type": "rotate", "degrees": 10.0}],
            "variants": 2,
            "marked": False,
            "encoding": {"format": "jpeg", "quality": 80},
        },
        (spec(),),
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_request_of_a_plan_gives_the_plan(name: str) -> None:
    body, specs = REQUESTS[name]
    plan = planned(body, *specs)
    job = Job(formats=[{"type": "imagefolder"}], report_asked=None, gate=None)
    again = request_of(job, plan, {each.sha256: each.classes for each in specs})
    assert again["seed"] == plan.seed
    assert planned({**again, "seed": None}, *specs, seed=plan.seed) == plan


def test_a_command_says_how_latents_are_drawn_and_none_what_it_can_not() -> None:
    for name, commands in {"shaped latents": 1, "other names": 0, "two models": 0}.items():
        body, specs = REQUESTS[name]
        plan = planned(body, *specs)
        said = again_of(plan, {each.sha256: each.classes for each in specs}, {})
        assert len(said) == 1 + commands
        if commands:
            assert "--truncation 0.7 --temperature 1.5" in said[0]
