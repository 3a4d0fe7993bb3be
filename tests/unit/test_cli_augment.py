"""`synthloom augment`: what lands in the folder, what a second run does, exit codes, summaries."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from app.datasets.verify import verify
from tests.fake_service import FakeService
from tests.unit.test_cli_reports import outcome

Run = Callable[..., Result]
RECIPE = "model: tiny\nsamples_per_class: {bag: 3, coat: 2}\n"
AUGMENT = ("augment", "recipe.yaml", "--out", "data")


@pytest.fixture(autouse=True)
def recipe(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    path = nobody / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def submissions(service: FakeService) -> list[tuple[str, dict[str, Any]]]:
    """Idempotency key and body of each."""
    return [
        (headers["idempotency-key"], json.loads(body))
        for verb, path, headers, body in service.seen
        if (verb, path) == ("POST", "/v1/jobs")
    ]


def downloads(service: FakeService) -> int:
    return service.paths().count("/v1/jobs/job_1/archives/imagefolder")


def lock(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "data" / "synthloom.lock.json").read_text())
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_holds_dataset_report_summary_and_lock(
    run: Run, known: FakeService, nobody: Path
) -> None:
    result = run(*AUGMENT)
    assert result.exit_code == 0
    assert names(nobody / "data") == [
        "contact-sheet.png", "imagefolder", "report.html", "report.json", "summary.md",
        "synthloom.lock.json",
    ]  # fmt: skip
    assert verify(nobody / "data" / "imagefolder").delivered == {"bag": 3, "coat": 2}
    assert "data holds imagefolder; every file is verified." in result.stdout
    assert lock(nobody)["samples_per_class"] == {"bag": 3, "coat": 2}


def test_a_second_run_generates_and_downloads_nothing(
    run: Run, known: FakeService, nobody: Path
) -> None:
    run(*AUGMENT)
    before = {path: path.read_bytes() for path in (nobody / "data").rglob("*.*") if path.is_file()}
    known.seen.clear()
    result = run(*AUGMENT, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["up_to_date"] is True
    assert (submissions(known), downloads(known)) == ([], 0)
    after = {path: path.read_bytes() for path in before}
    assert {path.name for path in before if before[path] != after[path]} == {"summary.md"}


def test_the_seed_and_the_key_follow_from_the_recipe(
    run: Run, known: FakeService, nobody: Path
) -> None:
    run(*AUGMENT)
    run("augment", "recipe.yaml", "--out", "other")
    (key, body), again = submissions(known)
    assert again == (key, body)
    assert 0 <= body["seed"] < 2**53
    assert key.startswith("augment-")


def test_a_changed_recipe_is_run_anew(
    run: Run, known: FakeService, recipe: Path, nobody: Path
) -> None:
    run(*AUGMENT)
    recipe.write_text(RECIPE.replace("3", "1"))
    known.archive, known.states = b"", ["queued"]
    assert run(*AUGMENT).exit_code == 0
    (first, _), (second, _) = submissions(known)
    assert first != second
    assert verify(nobody / "data" / "imagefolder").delivered == {"bag": 1, "coat": 2}


def test_a_comment_changes_nothing(run: Run, known: FakeService, recipe: Path) -> None:
    run(*AUGMENT)
    recipe.write_text("# a word more\n" + RECIPE)
    assert "up to date" in run(*AUGMENT).stdout
    assert len(submissions(known)) == 1


@pytest.mark.parametrize("what", ["imagefolder/bag/00000000.png", "report.html", "lock"])
def test_what_was_tampered_with_is_brought_again(
    run: Run, known: FakeService, nobody: Path, what: str
) -> None:
    run(*AUGMENT)
    path = nobody / "data" / ("synthloom.lock.json" if what == "lock" else what)
    right = path.read_bytes()
    path.write_bytes(b"spoilt")
    before = downloads(known)
    assert run(*AUGMENT).exit_code == 0
    assert path.read_bytes() == right
    assert downloads(known) == before + (what != "report.html")
    keys = {key for key, _ in submissions(known)}
    assert len(keys) == 1, "the same job is found again"


def test_a_broken_download_goes_on_in_the_next_run(
    run: Run, known: FakeService, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.cuts = [700]

    def die(method: str, path: str) -> None:
        asked = [h for verb, _, h, _ in known.seen if "range" in h]
        if asked:
            known.on_request = lambda method, path: None
            os.kill(os.getpid(), signal.SIGINT)

    known.on_request = die
    assert run(*AUGMENT).exit_code == 130
    [part] = (nobody / "data" / ".synthloom").iterdir()
    assert part.stat().st_size == 700
    known.seen.clear()
    assert run(*AUGMENT).exit_code == 0
    ranges = [headers["range"] for _, _, headers, _ in known.seen if "range" in headers]
    assert ranges == ["bytes=700-"]
    assert verify(nobody / "data" / "imagefolder").ok
    assert ".synthloom" not in names(nobody / "data")


def test_a_gate_that_is_not_passed(
    run: Run, known: FakeService, recipe: Path, nobody: Path
) -> None:
    recipe.write_text(RECIPE + "gate: {label_agreement: 0.95}\n")
    known.last_state, known.gate = "failed", outcome(False)
    for _ in range(2):
        result = run(*AUGMENT)
        assert result.exit_code == 5
        assert "The gate is not passed." in result.stderr
    assert len(submissions(known)) == 1, "the answer is known"
    assert names(nobody / "data") == ["report.html", "report.json", "summary.md", "synthloom.lock.json"]  # noqa: E501  # fmt: skip
    assert "no dataset" in (nobody / "data" / "summary.md").read_text()
    run(*AUGMENT, "--again")
    assert len(submissions(known)) == 2


def test_a_job_that_failed_is_not_the_answer_for_ever(
    run: Run, known: FakeService, nobody: Path
) -> None:
    known.last_state = "failed"
    assert run(*AUGMENT).exit_code == 1

    def mend(method: str, path: str) -> None:
        if len(submissions(known)) == 3:
            known.last_state, known.states = "succeeded", []

    known.on_request = mend
    assert run(*AUGMENT).exit_code == 0
    first, found, other = (key for key, _ in submissions(known))
    assert first == found
    assert other == f"{first}-1"


def test_a_folder_that_is_no_dataset_is_left_alone(
    run: Run, known: FakeService, nobody: Path
) -> None:
    (nobody / "data" / "imagefolder").mkdir(parents=True)
    (nobody / "data" / "imagefolder" / "mine").write_text("mine")
    result = run(*AUGMENT)
    assert result.exit_code == 2
    assert "something else than a dataset" in result.stderr
    assert names(nobody / "data" / "imagefolder") == ["mine"]


def test_what_is_wrong_is_said_before_anything_runs(
    run: Run, known: FakeService, recipe: Path, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    recipe.write_text(RECIPE + "sede: 7\n")
    result = run(*AUGMENT)
    assert result.exit_code == 2
    assert 'recipe.yaml:3:1: "sede" is no field of a recipe; did you mean "seed"?' in result.stderr
    assert "::error file=recipe.yaml,line=3,col=1::" in result.stderr
    assert (known.seen, (nobody / "data").exists()) == ([], False)
    assert run("augment", "none.yaml", "--out", "data").exit_code == 2


def test_a_check_asks_nobody(run: Run, known: FakeService) -> None:
    assert run(*AUGMENT, "--check").exit_code == 0
    assert known.seen == []


def test_github_gets_a_summary_and_outputs(
    run: Run, known: FakeService, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        (nobody / name).write_text("before\n")
        monkeypatch.setenv(name, str(nobody / name))
    run(*AUGMENT)
    summary = (nobody / "GITHUB_STEP_SUMMARY").read_text()
    assert summary.startswith("before\n## Synthloom: 5 samples, verified\n")
    assert "| bag | 3 | 3 |" in summary
    assert "![" not in summary, "GitHub shows no picture that is not on the web"
    assert "](contact-sheet.png)" in (nobody / "data" / "summary.md").read_text()
    outputs = dict(
        line.split("=") for line in (nobody / "GITHUB_OUTPUT").read_text().splitlines()[1:]
    )
    assert outputs["recipe-sha256"] == lock(nobody)["recipe_sha256"]
    assert (outputs["up-to-date"], outputs["outcome"]) == ("false", "succeeded")
