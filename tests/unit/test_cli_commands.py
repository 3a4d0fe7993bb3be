"""`synthloom models`, `jobs` and `verify`, and the command tree as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.fake_service import FakeService
from tests.made_datasets import Make

Run = Callable[..., Result]
QUOTAS = {"bag": 3, "coat": 2}


def facts(result: Result) -> dict[str, str]:
    """A table of two columns."""
    split = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    return {row[0]: row[1].strip() for row in split if len(row) == 2}


# Models


def test_models_list(run: Run, known: FakeService) -> None:
    result = run("models", "list")
    assert result.exit_code == 0
    assert "tiny@1" in result.stdout
    assert "4 x 4 x 1" in result.stdout
    assert json.loads(run("models", "list", "--json").stdout)[0]["name"] == "tiny"


def test_models_show(run: Run, known: FakeService) -> None:
    shown = run("models", "show", "tiny").stdout
    assert "label agreement   0.9" in shown
    assert "bag, coat" in shown
    assert json.loads(run("models", "show", "tiny", "--json").stdout)["spec"] == {"format": 1}


def test_models_preview(run: Run, known: FakeService, nobody: Path) -> None:
    assert "tiny.png" in run("models", "preview", "tiny").stdout
    assert run("models", "preview", "tiny", "--out", "new/sheet.png").exit_code == 0
    assert (nobody / "tiny.png").read_bytes() == (nobody / "new/sheet.png").read_bytes()
    assert (nobody / "tiny.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_model(run: Run, known: FakeService, nobody: Path) -> None:
    for command in ("show", "preview"):
        result = run("models", command, "other")
        assert result.exit_code == 2
        assert "Look at the list" in result.stderr
    assert list(nobody.iterdir()) == []


# Jobs


def test_jobs_list(run: Run, known: FakeService) -> None:
    shown = run("jobs", "list", "--limit", "3").stdout
    assert [f"job_{index}" in shown for index in range(5)] == [True] * 3 + [False] * 2
    assert len(json.loads(run("jobs", "list", "--json").stdout)) == 5


def test_jobs_show(run: Run, known: FakeService) -> None:
    known.states, known.archive = [], b"zip"
    found = facts(run("jobs", "show", "job_1"))
    assert found["state"] == "succeeded"
    assert found["samples"] == "5 of 5 done"
    assert found["archive"].startswith("imagefolder   3 bytes")
    assert found["bag"] == "3"
    assert json.loads(run("jobs", "show", "job_1", "--json").stdout)["id"] == "job_1"


@pytest.mark.parametrize("workers", [0, 1])
def test_jobs_show_says_that_nobody_will_begin_a_job(
    run: Run, known: FakeService, workers: int
) -> None:
    known.states, known.workers = ["queued", "queued"], workers
    result = run("jobs", "show", "job_1")
    assert result.exit_code == 0
    assert ("No worker is running" in result.stderr) == (workers == 0)


def test_jobs_show_asks_for_workers_only_while_a_job_is_queued(
    run: Run, known: FakeService
) -> None:
    assert run("jobs", "show", "job_1").exit_code == 0
    assert "/readyz" not in known.paths()


def test_jobs_show_says_why_a_job_failed(run: Run, known: FakeService) -> None:
    known.states, known.last_state = [], "failed"
    assert facts(run("jobs", "show", "job_1"))["problem"] == "Class bag ran dry. Ask for less."


def test_jobs_cancel(run: Run, known: FakeService) -> None:
    assert run("jobs", "cancel", "job_1").stdout == "Job job_1 is cancelled.\n"
    assert run("jobs", "cancel", "job_1").exit_code == 0
    known.last_state = "succeeded"
    result = run("jobs", "cancel", "job_1")
    assert result.exit_code == 1
    assert "The job has ended" in result.stderr


def test_jobs_download(run: Run, known: FakeService, make: Make, nobody: Path) -> None:
    known.states, known.archive = [], make.zipped(make.files(QUOTAS))
    known.cuts = [500]
    result = run("jobs", "download", "job_1")
    assert (nobody / "job_1.zip").read_bytes() == known.archive
    assert f"{len(known.archive):,} bytes and SHA-256 " in result.stdout
    assert run("verify", "job_1.zip").exit_code == 0
    assert run("jobs", "download", "job_1", "--out", "a/b.zip").exit_code == 0
    assert (nobody / "a/b.zip").exists()


def test_jobs_download_too_early(run: Run, known: FakeService, nobody: Path) -> None:
    result = run("jobs", "download", "job_1")
    assert result.exit_code == 1
    assert "Wait for the job" in result.stderr
    assert list(nobody.iterdir()) == []


def test_an_unknown_job(run: Run, known: FakeService) -> None:
    for command in ("show", "cancel", "download"):
        assert run("jobs", command, "job_nowhere").exit_code == 2


# Verify


def test_verify_a_good_dataset(run: Run, make: Make) -> None:
    for path in (make.folder(make.files(QUOTAS)), make.zip(make.files(QUOTAS))):
        result = run("verify", path)
        assert result.exit_code == 0
        assert "is right: 7 files, 5 images decoded, made by tiny@1 from seed 7." in result.stdout
        assert result.stderr == ""
        found = json.loads(run("verify", path, "--json").stdout)
        assert (found["ok"], found["images"], found["problems"]) == (True, 5, [])


def test_verify_names_the_tampered_file(run: Run, make: Make) -> None:
    path = make.folder(make.files(QUOTAS) | {"bag/00000001.png": make.png(200)})
    result = run("verify", path)
    assert result.exit_code == 4
    assert result.stderr.splitlines() == [
        "bag/00000001.png is not the file that SHA256SUMS lists.",
        f"Error: {path} is not right (1 problem); generate or download it again.",
    ]
    assert result.stdout == ""
    result = run("verify", path, "--json")
    assert result.exit_code == 4
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert found["problems"] == ["bag/00000001.png is not the file that SHA256SUMS lists."]


def test_verify_what_is_no_dataset(run: Run, nobody: Path) -> None:
    (nobody / "text.zip").write_text("hello")
    assert run("verify", "text.zip").exit_code == 4
    (nobody / "empty").mkdir()
    assert run("verify", "empty").exit_code == 4
    result = run("verify", "nowhere")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


# The tree


def test_every_command_is_there(run: Run) -> None:
    shown = run("--help").stdout
    for command in ("generate", "verify", "demo", "serve", "worker", "migrate", "train"):
        assert command in shown
    for group in ("models", "jobs"):
        assert group in shown


@pytest.mark.parametrize("command", ["generate", "verify", "demo", "models list", "jobs download"])
def test_every_option_explains_itself(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "--help" in result.stdout


def test_help_does_not_wait_for_heavy_imports() -> None:
    """Nor does any command, but for what it runs."""
    code = (
        "import sys; from app.cli.main import COMMANDS, Lazy; dict(Lazy(COMMANDS)); "
        "print([name for name in ('torch', 'torchvision', 'fastapi', 'sqlalchemy', 'dbos') "
        "if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_demo_replaces_only_what_it_made(run: Run, nobody: Path) -> None:
    (nobody / "precious").mkdir()
    (nobody / "precious" / "mine").write_text("mine")
    result = run("demo", "--out", "precious")
    assert result.exit_code == 2
    assert "was not made by the demo" in result.stderr
    assert (nobody / "precious" / "mine").read_text() == "mine"


def test_the_croissant_of_a_job_is_saved(run: Run, known: FakeService, nobody: Path) -> None:
    shown = run("jobs", "croissant", "job_1", "--out", "described.json")
    assert shown.exit_code == 0
    assert "described.json describes the dataset of job_1." in shown.output
    assert (nobody / "described.json").read_bytes() == b"the croissant.json"
    assert run("jobs", "croissant", "job_2").exit_code == 2
    refused = run("jobs", "croissant", "job_1", "--out", "no/such/folder.json")
    assert "can't be written" in refused.stderr
