"""Training on small real images: it learns, it resumes to the bit, it says what is wrong."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models import checkpoint
from models.corpus.corpus import Corpus
from models.errors import ModelError, TrainingError
from models.files import WEIGHTS_FILE, read_spec
from models.generator import sample
from models.latents import normal
from models.registry import ARCHITECTURES
from models.training.batches import Batches
from models.training.callbacks import Callback, LossTable, SampleGrid
from models.training.classify import Budget, accuracy, fit, predict
from models.training.config import TrainingConfig
from models.training.losses import hinge, logistic, reconstruction
from models.training.session import start

EVERY = sorted(ARCHITECTURES)
QUICK = {"base": 8, "epochs": 1, "snapshot_minutes": 60.0}


def config(architecture: str, **fields: object) -> TrainingConfig:
    return TrainingConfig(architecture=architecture, name="digits", **(QUICK | fields))


class InterruptionError(Exception):
    """Stands for the process being killed."""


class StopAt(Callback):
    """Raises after a step, before anything of it is saved."""

    def __init__(self, step: int) -> None:
        self.last = step

    def step(self, progress, losses):
        if progress.step == self.last:
            raise InterruptionError


class Losses(Callback):
    """Keeps every loss."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def step(self, progress, losses):
        self.rows.append(dict(losses))


@pytest.mark.parametrize("architecture", EVERY)
def test_an_interrupted_run_goes_on_to_the_bit(digits, tmp_path, architecture):
    whole = start(config(architecture), digits, tmp_path / "whole", [])
    often = config(architecture, snapshot_minutes=0.0)  # a snapshot each step
    with pytest.raises(InterruptionError):
        start(often, digits, tmp_path / "cut", [StopAt(9)])
    torch.manual_seed(99)  # another process has another stream
    resumed = start(config(architecture), digits, tmp_path / "cut", [])
    assert resumed.progress.step == whole.progress.step > 9
    assert resumed.spec.weights == whole.spec.weights
    states = [(tmp_path / run / "state.safetensors") for run in ("whole", "cut")]
    first, second = (checkpoint_tensors(path) for path in states)
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)


def checkpoint_tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def test_a_vae_lowers_its_loss_and_gives_a_checkpoint_that_loads(digits, tmp_path):
    losses = Losses()
    table, grid = LossTable(tmp_path / "losses.csv", every=10), SampleGrid()
    outcome = start(config("cvae", epochs=12), digits, tmp_path, [losses, table, grid])
    totals = [row["reconstruction"] + row["divergence"] for row in losses.rows]
    assert np.mean(totals[-20:]) < np.mean(totals[:20]) - 20
    spec = read_spec(tmp_path)
    assert spec == outcome.spec
    assert spec.classes == digits.classes
    assert spec.training["epochs"] == 12
    generator = checkpoint.load(spec, tmp_path / WEIGHTS_FILE)
    z = normal(seed=0, model=spec.sha256, shard=0, first=0, count=100, size=spec.latent_size)
    labels = np.arange(100) % 10
    pixels, finite = sample(generator, z, labels)
    assert finite.all()
    # The mean sample of a digit is nearer to the real mean of that digit than to most others.
    mean = np.stack([pixels[labels == k].mean(0) for k in range(10)]).reshape(10, -1)
    real = np.stack([digits.images[digits.labels == k].mean(0) for k in range(10)]).reshape(10, -1)
    nearest = np.linalg.norm(mean[:, None] - real[None], axis=2).argmin(axis=1)
    assert (nearest == np.arange(10)).sum() >= 7
    rows = list(csv.DictReader((tmp_path / "losses.csv").read_text().splitlines()))
    assert len(rows) == outcome.progress.step // 10
    assert len(list((tmp_path / "snapshots").glob("*/samples.png"))) == 1


@pytest.mark.parametrize("architecture", ["cgan", "mlp_gan"])
def test_a_gan_moves_its_samples_towards_the_data(digits, tmp_path, architecture):
    def distance(folder: Path) -> float:
        spec = read_spec(folder)
        z = normal(seed=0, model=spec.sha256, shard=0, first=0, count=200, size=spec.latent_size)
        labels = np.arange(200) % 10
        pixels = sample(checkpoint.load(spec, folder / WEIGHTS_FILE), z, labels).pixels
        return float(np.abs(pixels.mean(0) - digits.images.mean(0)).mean())

    start(config(architecture, epochs=1), digits, tmp_path / "short", [])
    start(config(architecture, epochs=6), digits, tmp_path / "long", [])
    assert distance(tmp_path / "long") < 0.7 * distance(tmp_path / "short")


def test_minutes_end_a_run(digits, tmp_path):
    outcome = start(config("vae", epochs=10_000, minutes=0.01), digits, tmp_path, [])
    assert 0 < outcome.progress.step < 10_000
    assert 0.6 <= outcome.progress.seconds < 10


def test_the_callers_random_stream_is_left_alone(digits, tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    start(config("mlp_gan"), digits, tmp_path, [])
    assert torch.rand(3).equal(wanted)


def test_another_runs_state_is_refused(digits, tmp_path):
    start(config("vae"), digits, tmp_path, [])
    with pytest.raises(TrainingError, match="does not continue this run"):
        start(config("cvae"), digits, tmp_path, [])


def test_another_seed_does_not_continue_a_run(digits, tmp_path):
    start(config("vae", seed=1), digits, tmp_path, [])
    with pytest.raises(TrainingError, match="this run has seed 1"):
        start(config("vae", seed=2), digits, tmp_path, [])


def test_a_loss_table_forgets_the_steps_that_are_done_again(tmp_path):
    path = tmp_path / "losses.csv"
    path.write_text("step,seconds,a\n100,1,0.5\n200,2,0.4\n300,3,0.3\n")
    LossTable(path).begin(200, 1000)
    assert path.read_text().split() == ["step,seconds,a", "100,1,0.5", "200,2,0.4"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"architecture": "transformer"}, "not one of"),
        ({"name": "No Such Name"}, "name"),
        ({"seed": -1}, "seed"),
        ({"epochs": 0}, "epochs"),
        ({"minutes": 0.0}, "minutes"),
        ({"pixel_variance": 0.1}, "cgan has no pixel variance"),
        ({"pixel_variance": 0.0}, "pixel variance must be above 0"),
        ({"validation": 10_000}, "keep 10000 of 1797"),
    ],
)
def test_what_cannot_be_trained_is_refused(digits, tmp_path, fields, sentence):
    with pytest.raises(ModelError, match=sentence):
        start(replace(config("cgan"), **fields), digits, tmp_path, [])


def test_batches_are_a_function_of_seed_and_step(digits):
    there, again, other = Batches(digits, 64, 1), Batches(digits, 64, 1), Batches(digits, 64, 2)
    forward = [there.at(step)[0] for step in range(60)]
    backward = [again.at(step)[0] for step in reversed(range(60))]
    assert all((a == b).all() for a, b in zip(forward, reversed(backward), strict=True))
    assert (other.at(0)[0] != forward[0]).any()
    epoch = np.concatenate([there.at(step)[1] for step in range(there.per_epoch)])
    assert len(epoch) == 64 * 28
    assert (np.bincount(epoch, minlength=10) > 160).all()
    assert (np.diff(there.at(5)[1]) >= 0).all()


def test_too_few_images_are_refused(digits):
    few = Corpus(digits.images[:10], digits.labels[:10], digits.classes)
    with pytest.raises(TrainingError, match="do not fill one batch"):
        Batches(few, 64, 0)


def test_losses_have_their_known_values():
    real, made = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])
    assert hinge().discriminator(real, made).item() == pytest.approx(0.5 + 1.0)
    assert hinge().generator(made).item() == pytest.approx(0.5)
    zeros = torch.zeros(4)
    assert logistic().discriminator(zeros, zeros).item() == pytest.approx(2 * np.log(2))
    assert logistic().generator(zeros).item() == pytest.approx(np.log(2))
    images = torch.zeros(2, 1, 2, 2)
    assert reconstruction(images, images + 0.1, 0.05).item() == pytest.approx(4 * 0.01 / 0.1)


def test_the_classifier_learns_the_digits(digits):
    train, kept = digits.split(297)
    classifier = fit(train, Budget(epochs=4, batch_size=32))
    assert not classifier.training
    assert accuracy(classifier, kept) > 0.85
    probabilities = predict(classifier, kept.images[:7], batch_size=3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    again = fit(train, Budget(epochs=4, batch_size=32))
    assert (predict(again, kept.images[:7], batch_size=3) == probabilities).all()


def test_the_command_trains_and_says_where_the_model_is(digits, tmp_path):
    import typer

    from models.training.cli import train

    np.savez(tmp_path / "digits.npz", images=digits.images, labels=digits.labels)
    app = typer.Typer()
    app.command()(train)
    out = tmp_path / "out"
    given = ["vae", "--data", str(tmp_path / "digits.npz"), "--name", "tiny", "--out", str(out)]
    result = CliRunner().invoke(app, [*given, "--epochs", "1"])
    assert result.exit_code == 0, result.output
    assert "tiny: 1.0 epochs" in result.output
    assert read_spec(out).name == "tiny"
    missing = CliRunner().invoke(app, ["vae", "--data", "/none", *given[3:]])
    assert missing.exit_code == 1
    assert CliRunner().invoke(app, ["novel", *given[1:]]).exit_code == 2


def test_importing_the_commands_is_cheap():
    program = "import models.training.cli, models.evaluation.cli, sys;"
    program += "assert not {'torch', 'matplotlib', 'sklearn'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
