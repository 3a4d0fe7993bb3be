"""`--check`: the words of a command, and the request that they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import Result

from app.cli.checks import add_checks
from app.client_types import JobRequest
from app.jobs.asked_checks import options_of
from app.jobs.asked_copies import RealImages
from app.jobs.merge import PlannedMerge
from app.jobs.plan import Plan
from app.jobs.request import JobRequest as JobRequestModel
from app.jobs.request import make_plan
from tests.builders import limits, planned, spec
from tests.fake_service import FakeService

Run = Callable[..., Result]


def written(*texts: str) -> Any:
    request = JobRequest()
    add_checks(request, list(texts))
    return request.get("checks")


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("brightness=0.1..0.9", {"min": 0.1, "max": 0.9}),
        ("brightness=..0.9", {"max": 0.9}),
        ("contrast=0.05..", {"min": 0.05}),
        ("label_agreement", {}),
        ("near_duplicates", True),
        ("near_duplicates=2", {"distance": 2}),
        ("label_agreement=0.8", {"min_confidence": 0.8}),
        ("label_agreement=judge@1.0", {"classifier": "judge@1.0"}),
        ("label_agreement=judge:0.8", {"classifier": "judge", "min_confidence": 0.8}),
        ("contrast=0..1", {"min": 0.0, "max": 1.0}),
    ],
)
def test_a_check_in_a_word(text: str, check: Any) -> None:
    assert written(text) == {text.partition("=")[0]: check}


def test_without_checks_nothing_is_asked() -> None:
    assert written() is None


@pytest.mark.parametrize(
    "text", ["", "sharpness", "brightness", "brightness=", "brightness=0.5", "brightness=..",
             "brightness=a..b", "contrast=0.1...0.2", "label_agreement=judge:x",
             "near_duplicates=-1", "near_duplicates=a"]
)  # fmt: skip
def test_what_is_no_check_is_said_so(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        written(text)


def test_a_check_is_given_once() -> None:
    with pytest.raises(typer.BadParameter, match="twice"):
        written("contrast=0.1..", "contrast=0.2..")


def test_the_command_of_a_report_asks_for_the_same_checks() -> None:
    checks = {
        "brightness": {"min": 0.125},
        "contrast": {"max": 0.5},
        "near_duplicates": {"distance": 3},
    }
    plan = planned({"model": "maker", "samples_per_class": 3, "checks": checks})
    words = options_of(plan.checks)
    assert words[::2] == ["--check"] * 3
    again = {"model": "maker", "samples_per_class": 3, "checks": written(*words[1::2])}
    assert planned(again).checks == plan.checks


def of_copies(copies: str | None, percentile: float | None) -> Any:
    request = JobRequest()
    add_checks(request, ["contrast=0.1.."], copies, percentile)
    return request["checks"]


def test_copies_are_a_check() -> None:
    assert of_copies("shop", 2.5)["copies"] == {"dataset": "shop", "percentile": 2.5}
    assert of_copies("shop", None)["copies"] == {"dataset": "shop"}
    with pytest.raises(typer.BadParameter, match="--copies DATASET"):
        of_copies(None, 1)


def test_the_command_of_a_report_asks_for_the_same_copies() -> None:
    counts: dict[Any, dict[str, int]] = {"train": {"bag": 9}, "test": {"bag": 3}}
    shop = RealImages(PlannedMerge("shop", "ab" * 32, "", "", counts))
    body = {"model": "maker", "samples_per_class": {"bag": 3}}
    asked = JobRequestModel.model_validate(body | {"checks": of_copies("shop", 2.5)})
    plan = make_plan(asked, [spec()], 7, limits(), real=shop)
    words = options_of(plan.checks)
    assert words[2:] == ["--copies", "shop", "--copies-percentile", "2.5"]
    again = json.loads(json.dumps(plan.to_json()))
    assert Plan.from_json(again) == plan
    frozen = again["checks"]["copies"] | {"limits": {"threshold": 0.5, "usual": [1.0] * 10}}
    later = Plan.from_json(again | {"checks": again["checks"] | {"copies": frozen}})
    assert later.checks != plan.checks
    assert later.identifier == plan.identifier


def test_generate_sends_them(run: Run, known: FakeService) -> None:
    words = ("--check", "brightness=0.1..", "--check", "contrast=..0.9")
    assert run("generate", "tiny", "--per-class", "2", *words, "--out", "out").exit_code == 0
    [body] = [body for verb, path, _, body in known.seen if (verb, path) == ("POST", "/v1/jobs")]
    assert b'"checks":{"brightness":{"min":0.1},"contrast":{"max":0.9}}' in body.replace(b" ", b"")
