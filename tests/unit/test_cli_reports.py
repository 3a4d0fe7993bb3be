"""`synthloom generate --gate --report` and `synthloom jobs report`: exit codes, files, words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.fake_service import FakeService

Run = Callable[..., Result]
GENERATE = ("generate", "tiny", "--class", "bag=3", "--out", "out")


def outcome(passed: bool) -> dict[str, Any]:
    """What the service says of a gate."""
    value = 0.97 if passed else 0.91
    condition = {
        "condition": "label_agreement>=0.95",
        "figure": "label_agreement",
        "comparison": ">=",
        "threshold": 0.95,
        "value": value,
        "holds": passed,
        "reason": None,
    }
    sentence = f"The gate is {'' if passed else 'not '}passed."
    return {"passed": passed, "sentence": sentence, "conditions": [condition]}


def sent(service: FakeService) -> dict[str, Any]:
    """The body of the submission."""
    (body,) = [body for verb, path, _, body in service.seen if (verb, path) == ("POST", "/v1/jobs")]
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_gate_that_is_not_passed_exits_5_and_the_report_is_there(
    run: Run, known: FakeService, nobody: Path
) -> None:
    known.last_state, known.gate = "failed", outcome(False)
    result = run(*GENERATE, "--gate", "label_agreement>=0.95", "--report", "deep/report.html")
    assert result.exit_code == 5
    assert sent(known)["gate"] == ["label_agreement>=0.95"]
    assert (nobody / "deep" / "report.html").read_text() == "the report.html"
    assert not (nobody / "out").exists()
    assert ["label_agreement>=0.95", "0.91", "no"] in [
        line.split() for line in result.stdout.splitlines()
    ]
    assert result.stderr.splitlines()[-1].startswith("Error: Job job_1 failed: The gate is not")


def test_a_gate_that_is_passed_is_shown(run: Run, known: FakeService, nobody: Path) -> None:
    known.gate = outcome(True)
    result = run(*GENERATE, "--gate", "label_agreement>=0.95", "--report", "report.json")
    assert result.exit_code == 0
    assert (nobody / "report.json").read_text() == "the report.json"
    assert "They look like bags." in result.stdout
    assert (nobody / "out" / "bag").is_dir()


def test_a_job_that_fails_otherwise_has_no_report(
    run: Run, known: FakeService, nobody: Path
) -> None:
    known.last_state = "failed"
    result = run(*GENERATE, "--gate", "label_agreement>=0.95", "--report", "report.html")
    assert result.exit_code == 1
    assert list(nobody.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ((), None),
        (("--against", "ds_1"), {"against": "ds_1"}),
        (("--against", "ds_1", "--lift"), {"against": "ds_1", "lift": True}),
        (("--against", "ds_1", "--report-minutes", "2.5"), {"against": "ds_1", "minutes": 2.5}),
    ],
)
def test_what_the_report_shall_hold(
    run: Run, known: FakeService, options: tuple[str, ...], asked: dict[str, Any] | None
) -> None:
    assert run(*GENERATE, *options).exit_code == 0
    assert sent(known).get("report") == asked


@pytest.mark.parametrize(
    "options",
    [("--lift",), ("--report-minutes", "2"), ("--report", "report.pdf"), ("--report", "report")],
)
def test_options_that_mean_nothing_are_refused_before_anything_is_sent(
    run: Run, known: FakeService, options: tuple[str, ...]
) -> None:
    assert run(*GENERATE, *options).exit_code == 2
    assert known.paths("POST") == []


def test_the_summary_for_programs_has_the_verdict(run: Run, known: FakeService) -> None:
    known.gate = outcome(True)
    summary = json.loads(run(*GENERATE, "--json").stdout)
    assert summary["verdict"] == "They look like bags."
    assert summary["gate"]["passed"] is True


def test_a_report_can_be_fetched_later(run: Run, known: FakeService, nobody: Path) -> None:
    known.states, known.gate = [], outcome(False)
    known.last_state = "failed"
    shown = run("jobs", "report", "job_1", "--out", "later.html")
    assert shown.exit_code == 0
    assert (nobody / "later.html").read_text() == "the report.html"
    assert "They look like bags." in shown.stdout
    assert "They look like bags." in run("jobs", "show", "job_1").stdout
