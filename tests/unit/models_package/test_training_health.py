"""A run that falls apart goes back once and then ends with what it had; it always says so."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from models.corpus.corpus import Corpus
from models.errors import TrainingError
from models.files import read_spec
from models.training.callbacks import Callback
from models.training.health import DivergenceError, Finding, Watch
from models.training.loop import Loop
from models.training.progress import TrainingProgress, read_progress
from models.training.session import start
from tests.trainings import small


class Findings(Callback):
    """Keeps what was found."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self.states: list[str] = []

    def found(self, finding: Finding) -> None:
        self.all.append(finding)

    def reported(self, progress: TrainingProgress) -> None:
        self.states.append(progress.state)


@pytest.fixture(scope="module")
def few(digits: Corpus) -> Corpus:
    return digits.take(slice(300))


HUGE = {"generator_rate": 1.0, "partner_rate": 1.0, "pixel_variance": 1e-4}


def test_a_huge_rate_diverges_and_the_run_says_what_to_do(few: Corpus, tmp_path: Path) -> None:
    heard = Findings()
    with pytest.raises(TrainingError, match="also with half the step sizes; lower generator_rate"):
        start(small("cvae", steps=400, settings=HUGE), few, tmp_path, [heard])
    assert [finding.code for finding in heard.all] == ["diverged"]
    assert "went back to step 0 with half the step sizes" in heard.all[0].detail
    assert heard.states[-1] == "failed"
    progress = read_progress(tmp_path)
    assert progress is not None
    assert progress.state == "failed"
    assert progress.error is not None
    assert "diverged" in progress.error


class Poison(Callback):
    """Makes weights infinite once the run has come to certain steps; each time, once."""

    def __init__(self, loops: list[Loop], steps: list[int]) -> None:
        self.loops, self.steps = loops, steps

    def step(self, progress: object, losses: object) -> None:
        learner = self.loops[0].learner
        if self.steps and learner.progress.step == self.steps[0]:
            self.steps.pop(0)
            for parameter in learner.pair.generator.parameters():
                parameter.data.fill_(math.inf)


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[Loop]:
    """The loops that were begun, the last first."""
    begun: list[Loop] = []
    begin = Loop.run

    def run(self: Loop) -> object:
        begun.insert(0, self)
        return begin(self)

    monkeypatch.setattr(Loop, "run", run)
    return begun


def test_once_a_run_goes_back_to_its_last_snapshot_with_half_the_rate(
    few: Corpus, tmp_path: Path, loops: list[Loop]
) -> None:
    run = small("vae", steps=10, snapshot_steps=4)
    outcome = start(run, few, tmp_path, [Poison(loops, [6])])
    assert outcome.ended == "steps"
    assert outcome.spec.training["rate_factor"] == 0.5
    assert [finding.code for finding in outcome.warnings] == ["diverged"]
    assert "went back to step 4" in outcome.warnings[0].detail
    slow = start(run, few, tmp_path / "never")
    assert slow.spec.weights != outcome.spec.weights
    assert read_spec(tmp_path).training["warnings"] == [outcome.warnings[0].model_dump()]
    rates = [group["lr"] for group in loops[-1].learner.pair.optimizers["generator"].param_groups]
    assert rates == [run.recipe.generator_rate / 2]


def test_the_second_time_it_ends_with_the_best_snapshot(
    few: Corpus, tmp_path: Path, loops: list[Loop]
) -> None:
    run = small("vae", steps=20, snapshot_steps=4)
    outcome = start(run, few, tmp_path, [Poison(loops, [6, 10])])
    assert outcome.ended == "diverged"
    assert outcome.chosen.step == 8
    assert [finding.code for finding in outcome.warnings] == ["diverged", "diverged"]
    assert "the snapshot of step 8 was taken" in outcome.warnings[1].detail


def test_losses_that_explode_without_becoming_infinite_are_a_divergence() -> None:
    watch = Watch("elbo")
    for step in range(200):
        watch.see(step, {"reconstruction": 70.0 - step / 10})
    watch.see(200, {"reconstruction": 5e5})  # one bad batch is none yet
    with pytest.raises(DivergenceError, match="more than 1000 times"):
        watch.see(201, {"reconstruction": 5e6})
    for bad in (math.nan, math.inf):
        with pytest.raises(DivergenceError, match=f"loss is {bad} at step 3"):
            Watch("hinge").see(3, {"generator": bad})


def test_a_critic_whose_loss_crosses_zero_is_no_divergence() -> None:
    watch = Watch("wasserstein")
    for step in range(1000):
        watch.see(step, {"discriminator": -50 * math.sin(step / 100), "generator": step / 50})
    assert watch.saturated(1000) is None


def test_a_collapsed_run_says_so_in_its_record(few: Corpus, tmp_path: Path) -> None:
    """An autoencoder whose codes mean nothing gives one image a class."""
    run = small(
        "cvae", steps=60, snapshot_steps=60, validation=0.2,
        settings={"kl_weight": 1000.0, "average_decay": 0.0},
    )  # fmt: skip
    outcome = start(run, few, tmp_path)
    assert [finding.code for finding in outcome.warnings] == ["collapsed"]
    assert outcome.spec.training["warnings"][0]["code"] == "collapsed"  # type: ignore[index]
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert [warning["code"] for warning in progress["warnings"]] == ["collapsed"]
