"""`synthloom generate`: what lands in the folder, on stdout, on stderr, and in the exit code."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import Result

from app.cli import delivery
from app.cli.asking import request_of
from app.datasets.verify import verify
from tests.fake_service import FakeService, problem
from tests.made_datasets import Make

Run = Callable[..., Result]


def sent(service: FakeService) -> dict[str, object]:
    """The body of the submission."""
    bodies = [body for verb, path, _, body in service.seen if (verb, path) == ("POST", "/v1/jobs")]
    assert len(bodies) == 1
    found: dict[str, object] = json.loads(bodies[0])
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_holds_what_was_asked(run: Run, known: FakeService, nobody: Path) -> None:
    result = run("generate", "tiny", "--class", "bag=3", "--class", "coat=1", "--out", "out")
    assert result.exit_code == 0
    assert names(nobody) == ["out"]
    assert names(nobody / "out") == ["SHA256SUMS", "bag", "coat", "dataset.json"]
    assert len(names(nobody / "out" / "bag")) == 3
    assert verify(nobody / "out").ok
    assert sent(known)["samples_per_class"] == {"bag": 3, "coat": 1}
    assert "seed" not in sent(known)


def test_a_request_says_whom_to_tell_and_that_images_are_signed(
    run: Run, known: FakeService
) -> None:
    hook = "https://ci.example.org/hooks"
    run("generate", "tiny", "--per-class", "2", "--c2pa", "--webhook", hook, "--out", "out")
    assert sent(known)["webhook"] == {"url": hook}
    assert sent(known)["c2pa"] is True


@pytest.mark.parametrize(
    ("said", "to"), [("max", "max"), ("12", 12), ("0.5", {"ratio": 0.5}), ("1.0", {"ratio": 1.0})]
)
def test_a_balance_is_asked_for_as_over_http(said: str, to: object) -> None:
    assert request_of("m", balance=("ds_1", said))["balance"] == {"dataset": "ds_1", "to": to}


@pytest.mark.parametrize("said", ["0", "1.5", "-1", "half", "nan"])
def test_what_is_no_target_of_a_balance(said: str) -> None:
    with pytest.raises(typer.BadParameter, match="part of the largest"):
        request_of("m", balance=("ds_1", said))


def test_no_service_is_started_that_could_not_tell(run: Run, nobody: Path) -> None:
    hook = "https://ci.example.org/hooks"
    result = run("generate", "tiny", "--per-class", "2", "--webhook", hook, "--out", "out")
    assert result.exit_code == 3
    assert names(nobody) == []


def test_the_table_says_asked_and_delivered(run: Run, known: FakeService) -> None:
    result = run("generate", "tiny", "--per-class", "2", "--seed", "7", "--out", "out")
    words = [line.split() for line in result.stdout.splitlines()]
    assert ["class", "asked", "delivered"] in words
    assert ["bag", "2", "2"] in words
    assert ["total", "4", "4"] in words
    assert "4 samples in 2.0 s (2 samples/s); " in result.stdout
    assert "Seed 7." in result.stdout
    assert "ImageFolder('out')" in result.stdout
    assert sent(known) == {
        "model": "tiny",
        "samples_per_class": 2,
        "seed": 7,
        "formats": ["imagefolder"],
    }


def test_sampling_is_sent_as_far_as_it_was_said(run: Run, known: FakeService) -> None:
    asked = ("--truncation", "0.8", "--temperature", "0.5")
    assert run("generate", "tiny", "--per-class", "2", *asked, "--out", "out").exit_code == 0
    assert sent(known)["sampling"] == {"truncation": 0.8, "temperature": 0.5}


def test_progress_is_plain_lines_on_stderr(run: Run, known: FakeService) -> None:
    result = run("generate", "tiny", "--per-class", "2", "--out", "out")
    assert result.stderr.splitlines() == [
        "job_1 queued: 0 of 4 samples",
        "job_1 running: 2 of 4 samples",
        "job_1 finalizing: 4 of 4 samples",
        "job_1 succeeded: 4 of 4 samples",
        f"Downloaded {len(known.archive):,} bytes",
        "Unpacked 6 files",
        "Verified 6 files",
    ]


def test_what_is_wrong_with_the_model_is_said_when_the_job_begins(
    run: Run, known: FakeService
) -> None:
    known.warnings = ["tiny@1 is degenerate: all of its images are black."]
    result = run("generate", "tiny", "--per-class", "2", "--out", "out")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[1] == known.warnings[0]


@pytest.mark.parametrize(("workers", "lines"), [(0, 1), (1, 0)])
def test_a_job_that_nobody_begins_is_explained_once(
    run: Run, known: FakeService, monkeypatch: pytest.MonkeyPatch, workers: int, lines: int
) -> None:
    monkeypatch.setattr(delivery, "UNSUSPICIOUS_SECONDS", 0.0)
    known.states, known.workers = ["queued"] * 5 + ["running"], workers
    result = run("generate", "tiny", "--per-class", "2", "--out", "out")
    assert result.exit_code == 0
    assert result.stderr.count("No worker is running, and the job waits for one: ") == lines
    assert known.paths().count("/readyz") == 1


def test_a_service_that_does_not_say_how_many_workers_it_has_is_waited_for(
    run: Run, known: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "UNSUSPICIOUS_SECONDS", 0.0)
    known.states = ["queued"] * 5

    def refuse(_method: str, path: str) -> None:
        if path == "/readyz":
            known.faults = [problem(404, "not-found", "A proxy keeps this to itself.")]

    known.on_request = refuse
    assert run("generate", "tiny", "--per-class", "2", "--out", "out").exit_code == 0
    assert "/readyz" in known.paths()


def test_json_is_one_object_and_nothing_else(run: Run, known: FakeService, nobody: Path) -> None:
    result = run("generate", "tiny", "--per-class", "2", "--out", "out", "--json")
    found = json.loads(result.stdout)
    assert found["job"] == "job_1"
    assert found["state"] == "succeeded"
    assert found["models"] == ["tiny@1"]
    assert (found["seed"], found["samples"], found["verified"]) == (7, 4, True)
    assert found["classes"][0] == {"class": "bag", "asked": 2, "delivered": 2}
    assert found["folder"] == str(nobody / "out")
    assert found["archive"] is None
    assert (found["generation_seconds"], found["samples_per_second"]) == (2.0, 2.0)
    assert found["seconds"] > 0


def test_an_unconditional_model_is_asked_for_samples(run: Run, known: FakeService) -> None:
    result = run("generate", "tiny", "--samples", "3", "--out", "out")
    assert result.exit_code == 0
    assert sent(known)["samples"] == 3
    assert ["unlabelled", "3", "3"] in [line.split() for line in result.stdout.splitlines()]


def test_the_archive_can_be_kept(run: Run, known: FakeService, nobody: Path) -> None:
    result = run("generate", "tiny", "--per-class", "1", "--out", "a/out", "--keep-archive")
    assert "The archive is a/out.zip." in result.stdout
    assert names(nobody / "a") == ["out", "out.zip"]
    assert (nobody / "a" / "out.zip").read_bytes() == known.archive


# Where it is put


def test_a_folder_with_something_in_it_is_not_touched(
    run: Run, known: FakeService, nobody: Path
) -> None:
    (nobody / "out").mkdir()
    (nobody / "out" / "mine").write_text("mine")
    result = run("generate", "tiny", "--per-class", "1", "--out", "out")
    assert result.exit_code == 2
    assert "out is not empty" in result.stderr
    result = run("generate", "tiny", "--per-class", "1", "--out", "out", "--force")
    assert result.exit_code == 2
    assert "holds something else than a dataset" in result.stderr
    assert names(nobody / "out") == ["mine"]
    assert known.paths("POST") == []


def test_a_dataset_can_be_replaced(run: Run, known: FakeService, nobody: Path) -> None:
    assert run("generate", "tiny", "--per-class", "3", "--out", "out").exit_code == 0
    known.archive, known.states = b"", ["queued"]
    assert run("generate", "tiny", "--per-class", "1", "--out", "out", "--force").exit_code == 0
    assert verify(nobody / "out").delivered == {"bag": 1, "coat": 1}
    assert names(nobody) == ["out"]


def test_an_empty_folder_is_filled(run: Run, known: FakeService, nobody: Path) -> None:
    (nobody / "out").mkdir()
    assert run("generate", "tiny", "--per-class", "1", "--out", "out").exit_code == 0
    assert verify(nobody / "out").ok


@pytest.mark.parametrize("out", [".", "..", "file", "file/below"])
def test_places_where_no_dataset_can_be_put(
    run: Run, known: FakeService, nobody: Path, out: str
) -> None:
    (nobody / "file").write_text("mine")
    result = run("generate", "tiny", "--per-class", "1", "--out", out)
    assert result.exit_code == 2
    assert "name a" in result.stderr
    assert known.seen == []


# Usage


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Say how many"),
        (["--per-class", "1", "--samples", "1"], "Say how many"),
        (["--per-class", "1", "--class", "bag=1"], "Say how many"),
        (["--per-class", "0"], "--per-class"),
        (["--samples", "-1"], "--samples"),
        (["--class", "bag"], "bag=200"),
        (["--class", "bag=0"], "bag=200"),
        (["--class", "bag=-1"], "bag=200"),
        (["--class", "bag=٣"], "bag=200"),
        (["--class", "=3"], "bag=200"),
        (["--class", "bag=1", "--class", "bag=2"], "twice"),
        (["--per-class", "1", "--seed", "-1"], "--seed"),
        (["--per-class", "1", "--seed", str(2**53)], "--seed"),
        (["--per-class", "many"], "--per-class"),
        (["--per-class", "1", "--server", "nonsense"], "not an address"),
    ],
)
def test_usage_errors(run: Run, known: FakeService, options: list[str], words: str) -> None:
    result = run("generate", "tiny", "--out", "out", *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""
    assert known.paths("POST") == []


def test_a_class_name_may_hold_an_equals_sign(run: Run, known: FakeService) -> None:
    known.quotas = {"a=b": 1}
    assert run("generate", "tiny", "--class", "a=b=1", "--out", "out").exit_code == 0
    assert sent(known)["samples_per_class"] == {"a=b": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["other", "--per-class", "1"], "There is no such model."),
        (["tiny", "--class", "hat=1"], "(/samples_per_class: not a class)"),
    ],
)
def test_what_the_service_refuses_is_usage(
    run: Run, known: FakeService, nobody: Path, arguments: list[str], words: str
) -> None:
    result = run("generate", *arguments, "--out", "out")
    assert result.exit_code == 2
    assert words in result.stderr
    assert names(nobody) == []


# Failures


def test_a_failed_job(run: Run, known: FakeService, nobody: Path) -> None:
    known.last_state = "failed"
    result = run("generate", "tiny", "--per-class", "1", "--out", "out", "--json")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: Job job_1 failed: Class bag ran dry. Ask for less."
    )
    assert result.stdout == ""
    assert names(nobody) == []


@pytest.mark.parametrize("how", ["tampered", "missing", "wrong count", "not the quotas", "slip"])
def test_an_archive_that_is_not_right(
    run: Run, known: FakeService, make: Make, nobody: Path, how: str
) -> None:
    files = make.files({"bag": 2, "coat": 2})
    match how:
        case "tampered":
            files["bag/00000000.png"] = make.png(3)
        case "missing":
            del files["bag/00000000.png"]
        case "wrong count":
            del files["bag/00000000.png"]
            files["SHA256SUMS"] = make.sums(files)
        case "not the quotas":
            files = make.files({"bag": 1, "coat": 1})
        case "slip":
            files["../escaped.png"] = make.png(3)
            files["SHA256SUMS"] = make.sums(files)
    known.archive = make.zipped(files)
    result = run("generate", "tiny", "--per-class", "2", "--out", "out")
    assert result.exit_code == 4
    assert {
        "tampered": "'bag/00000000.png' is not the file that SHA256SUMS lists",
        "missing": "'bag/00000000.png' is listed in SHA256SUMS but missing",
        "wrong count": "Class bag has 1 images, not the 2",
        "not the quotas": "other quotas than the job asked for",
        "slip": "is not a hash and a file name",
    }[how] in result.stderr
    assert names(nobody) == []
    assert names(nobody.parent) == ["here"]


def test_ctrl_c_cancels_the_job(run: Run, known: FakeService, nobody: Path) -> None:
    known.states = ["running"] * 1000

    def interrupt(method: str, path: str) -> None:
        if method == "GET" and path == "/v1/jobs/job_1":
            known.on_request = lambda method, path: None
            os.kill(os.getpid(), signal.SIGINT)

    known.on_request = interrupt
    result = run("generate", "tiny", "--per-class", "1", "--out", "out")
    assert result.exit_code == 130
    assert known.paths("POST")[-1] == "/v1/jobs/job_1/cancel"
    assert "Interrupted; job job_1 is cancelled and nothing was written." in result.stderr
    assert names(nobody) == []


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--encoding", "webp"], "webp"),
        (["--encoding", "jpeg"], "jpeg"),
        (["--encoding", "jpeg", "--quality", "90"], {"format": "jpeg", "quality": 90}),
        (["--encoding", "webp", "--quality", "60"], {"format": "webp", "quality": 60}),
        (["--encoding", "png"], None),
        ([], None),
    ],
)
def test_the_encoding_is_asked_for(
    run: Run, known: FakeService, options: list[str], asked: object
) -> None:
    run("generate", "tiny", "--per-class", "2", "--out", "out", *options)
    assert sent(known).get("encoding") == asked


@pytest.mark.parametrize(
    "options",
    [
        ["--encoding", "gif"],
        ["--quality", "90"],
        ["--encoding", "png", "--quality", "90"],
        ["--encoding", "jpeg", "--quality", "0"],
        ["--encoding", "jpeg", "--quality", "101"],
    ],
)
def test_no_such_encoding_is_wrong_usage(run: Run, known: FakeService, options: list[str]) -> None:
    result = run("generate", "tiny", "--per-class", "2", "--out", "out", *options)
    assert result.exit_code == 2
    assert known.paths("POST") == []
