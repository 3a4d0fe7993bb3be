"""Which samples are drawn again, from what, and what is said of another environment."""

from __future__ import annotations

import json

import pytest
import typer

from app.cli.regenerate import Regeneration, sentence
from app.cli.replay import amount_of, line_of
from app.datasets.document import dataset_document
from app.jobs.replay import ENVIRONMENT, changes, chosen, counted_share, origin_of
from tests.builders import TEN, planned, spec

NOW = {"device": "cpu", "torch": "2.14.1", "engine_batch": "256"}


def test_the_same_samples_are_chosen_each_time() -> None:
    assert chosen(10**8, 5, 0) == chosen(10**8, 5, 0) != chosen(10**8, 5, 1)
    assert chosen(4, 9, 3) == [0, 1, 2, 3]
    assert chosen(1000, 100, 2) == sorted(set(chosen(1000, 100, 2)))


@pytest.mark.parametrize(("share", "count"), [(0.01, 3), (1.0, 250), (1e-9, 1), (0.5, 125)])
def test_a_share_is_rounded_up(share: float, count: int) -> None:
    assert counted_share(250, share) == count


def test_an_origin_has_the_label_that_the_model_takes() -> None:
    turned = spec("turned", classes=TEN[::-1])
    body = {"models": [{"model": "maker"}, {"model": "turned"}], "samples_per_class": {"bag": 2}}
    plan = planned(body, spec(), turned)
    found = [origin_of(plan, cell, 3, 17) for cell in range(2)]
    assert [(each.label, each.shard, each.candidate) for each in found] == [(8, 3, 17), (1, 3, 17)]
    models = json.loads(dataset_document(plan, ["MIT", "MIT"]))["models"]
    assert "conditions" not in models[0]
    assert models[1]["conditions"] == {"bag": 1}


def test_a_model_without_classes_is_asked_for_none() -> None:
    plan = planned({"model": "maker", "samples": 3}, spec(classes=()))
    assert origin_of(plan, 0, 0, 0).label is None
    assert "conditions" not in json.loads(dataset_document(plan, ["MIT"]))["models"][0]


def test_what_differs_is_said_and_nothing_else() -> None:
    assert changes([NOW], NOW, ENVIRONMENT) == []
    old = NOW | {"torch": "2.0", "engine_batch": "64"}
    found = [str(change) for change in changes([old], NOW, ENVIRONMENT)]
    assert found == ["torch 2.0 then, 2.14.1 now", "engine batch 64 then, 256 now"]
    [mixed] = changes([NOW, NOW | {"device": "cuda"}], NOW, ENVIRONMENT)
    assert str(mixed) == "device cpu, cuda then, cpu now"
    [unknown] = changes([{"device": "cpu", "torch": "2.14.1"}], NOW, ENVIRONMENT)
    assert str(unknown) == "engine batch unknown then, 256 now"


def test_amounts() -> None:
    assert amount_of("1%", "x") == {"share": 0.01}
    assert amount_of("200", "x") == {"samples": 200}
    for wrong in ("", "%", "0", "0%", "101%", "-3", "1.5", "many"):
        with pytest.raises(typer.BadParameter):
            amount_of(wrong, "x")


def test_lines_for_people() -> None:
    different = {"index": 3, "class": "bag", "pixels_equal": False, "file_equal": False}
    assert line_of(different | {"largest_difference": 2}) == (
        "Sample 3 (bag): its pixels are others (by up to 2 of 255 from the stored file) and its "
        "stored file is not the one that the manifest lists."
    )
    found = Regeneration(5, {"device": "cpu", "torch": "2"})
    assert sentence(found) == "5 samples drawn again have the same pixels (device cpu, torch 2)."
    found.different.append("one")
    assert sentence(found).startswith("1 of 5 samples drawn again have other pixels.")
