"""From the command line to a service's request and back: nothing that was said is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.cli.evaluate_remote import _subject
from app.cli.run_progress import told
from app.cli.train import asked
from app.client_runs import RunProgress
from app.errors import UnknownOptionError
from app.runs.attempt import plain
from app.runs.request import TrainingRequest, training_config
from models.corpus.preprocessing import Preprocessing
from models.training.config import configured

SIZE = {"height": 8, "width": 8, "channels": 1}
SAID: list[dict[str, Any]] = [
    {},
    {"minutes": 2.5, "seed": 9, "conditional": False},
    {"settings": {"loss": "wasserstein", "critic_steps": 3}, "options": {"base": 8}},
    {"patience": None, "validation": 0, "snapshot_steps": 10, "steps": 40},
    {"preprocessing": SIZE | {"fit": "pad"}, "split": "validation", "licence": "MIT"},
]


@pytest.mark.parametrize("said", SAID, ids=str)
def test_a_service_trains_what_the_command_would(said: dict[str, Any]) -> None:
    here = configured(architecture="cgan", name="digits", **said)
    body = asked(here, accept_degenerate=False) | {"dataset": "ds_0"}
    request = TrainingRequest.model_validate(body)
    size = Preprocessing.model_validate(SIZE | body.get("size", {}))
    there = training_config(request, size if "size" in body else None, 1, "auto")
    assert there == here.model_copy(update={"threads": 1})


def test_an_unknown_option_names_those_that_there_are() -> None:
    body = {"architecture": "vae", "dataset": "d", "name": "n", "recipe": {"augmentation": []}}
    with pytest.raises(UnknownOptionError, match="'augmentation'") as caught:
        training_config(TrainingRequest.model_validate(body), None, 1, "cpu")
    assert "kl_weight" in caught.value.members["options"]


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ("job_12", {"job": "job_12"}),
        ("digits@1.1.0", {"model": "digits@1.1.0", "samples_per_class": 20, "seed": 4}),
    ],
)
def test_a_subject_is_what_its_name_says(given: str, subject: dict[str, Any]) -> None:
    assert _subject(None, given, 20, 4) == subject  # type: ignore[arg-type]


def test_progress_is_one_line() -> None:
    progress = RunProgress(step=1200, steps=4000, losses={"generator": 0.51234}, seconds_left=61)
    assert told(progress) == "step 1,200 of 4,000, generator 0.512, 1:01 left"
    assert told(RunProgress(figures={"kid": None})) == ""


def test_what_is_not_finite_is_null() -> None:
    """PostgreSQL refuses NaN in JSON."""
    assert plain({"a": [1.5, float("nan")], 2: (float("inf"),)}) == {"a": [1.5, None], "2": [None]}


def test_commands_say_which_options_a_service_does_not_take(run: Any, known: Any) -> None:
    result = run("evaluate", "tiny", "--against", "x", "--threads", 4, "--server", known.url)
    assert (result.exit_code, "--threads" in result.output) == (2, True)
    train = ["train", "--architecture", "cgan", "--data", "x", "--name", "n"]
    result = run(*train, "--keep", 9, "--server", known.url)
    assert (result.exit_code, "--keep" in result.output) == (2, True)
    result = run(*train, "--out", Path("here"), "--server", known.url)
    assert (result.exit_code, "--out" in result.output) == (2, True)


def test_who_is_told_of_a_run_needs_a_service_that_stays(run: Any) -> None:
    hook = ("--webhook", "https://example.org/")
    train = ["train", "--architecture", "cgan", "--data", "x", "--name", "n", *hook]
    result = run(*train, "--out", Path("here"))
    assert (result.exit_code, "--webhook" in result.output) == (2, True)
    assert run(*train).exit_code == 3, "no service, and none is started"
    result = run("evaluate", "tiny", "--against", "x", *hook)
    assert (result.exit_code, "--server" in result.output) == (2, True)
    here = configured(architecture="cgan", name="n")
    told = asked(here, accept_degenerate=False, webhook=hook[1])["webhook"]
    assert told == {"url": hook[1]}
    assert "webhook" not in asked(here, accept_degenerate=False)
