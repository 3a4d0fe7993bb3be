"""Training on small real images: it learns, it resumes to the bit, it says what is wrong."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch

from models import checkpoint
from models.corpus.corpus import Corpus
from models.errors import TrainingError
from models.files import SPEC_FILE, WEIGHTS_FILE, read_spec
from models.generator import sample
from models.latents import normal
from models.registry import ARCHITECTURES
from models.training.callbacks import Callback, LossTable
from models.training.classify import Budget, accuracy, fit, predict
from models.training.config import OPTIONS, TrainingConfig, configured
from models.training.holdout import hold_out
from models.training.session import TrainingInterruptedError, start
from tests.trainings import small

EVERY = sorted(ARCHITECTURES)


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


@pytest.fixture(scope="module")
def few(digits) -> Corpus:
    """300 of the digits."""
    return digits.take(slice(300))


@pytest.mark.parametrize("architecture", EVERY)
def test_an_interrupted_run_goes_on_to_the_bit(few, tmp_path, architecture):
    run = small(architecture, steps=8, snapshot_steps=3)
    whole = start(run, few, tmp_path / "whole")
    with pytest.raises(InterruptionError):
        start(run, few, tmp_path / "cut", [StopAt(5)])
    torch.manual_seed(99)  # another process has another stream
    resumed = start(run, few, tmp_path / "cut")
    assert resumed.progress.step == whole.progress.step == 8
    assert resumed.spec.weights == whole.spec.weights
    first, second = (tensors(tmp_path / run / "state.safetensors") for run in ("whole", "cut"))
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)


def tensors(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_a_run_that_is_told_to_stop_saves_itself_and_goes_on(few, tmp_path):
    run = small("vae", steps=9, checkpoint_minutes=60)
    whole = start(run, few, tmp_path / "whole")
    asked = iter([False] * 5 + [True])
    with pytest.raises(TrainingInterruptedError, match="step 5; the same command goes on"):
        start(run, few, tmp_path / "cut", stop=lambda: next(asked))
    assert not (tmp_path / "cut" / SPEC_FILE).exists()
    assert start(run, few, tmp_path / "cut").spec.weights == whole.spec.weights


def test_a_vae_lowers_its_loss_and_gives_a_checkpoint_that_loads(digits, tmp_path):
    losses = Losses()
    table = LossTable(tmp_path / "losses.csv", every=10)
    run = small("cvae", epochs=12, snapshot_steps=1000)
    outcome = start(run, digits, tmp_path, [losses, table])
    totals = [row["reconstruction"] + row["divergence"] for row in losses.rows]
    assert np.mean(totals[-20:]) < np.mean(totals[:20]) - 20
    spec = read_spec(tmp_path)
    assert spec == outcome.spec
    assert spec.classes == digits.classes
    assert spec.training["epochs"] == 12
    generator = checkpoint.load(spec, tmp_path / WEIGHTS_FILE)
    z = normal(seed=0, model=spec.sha256, shard=0, first=0, count=100, size=spec.latent_size)
    labels = np.arange(100) % 10
    made = sample(generator, z, labels)
    assert made.finite.all()
    pixels = made.pixels
    # The mean sample of a digit is nearer to the real mean of that digit than to most others.
    mean = np.stack([pixels[labels == k].mean(0) for k in range(10)]).reshape(10, -1)
    real = np.stack([digits.images[digits.labels == k].mean(0) for k in range(10)]).reshape(10, -1)
    nearest = np.linalg.norm(mean[:, None] - real[None], axis=2).argmin(axis=1)
    assert (nearest == np.arange(10)).sum() >= 7
    rows = list(csv.DictReader((tmp_path / "losses.csv").read_text().splitlines()))
    assert len(rows) == outcome.progress.step // 10


@pytest.mark.parametrize("architecture", ["cgan", "mlp_gan"])
def test_a_gan_moves_its_samples_towards_the_data(digits, tmp_path, architecture):
    def distance(folder) -> float:
        spec = read_spec(folder)
        z = normal(seed=0, model=spec.sha256, shard=0, first=0, count=200, size=spec.latent_size)
        labels = np.arange(200) % 10
        pixels = sample(checkpoint.load(spec, folder / WEIGHTS_FILE), z, labels).pixels
        return float(np.abs(pixels.mean(0) - digits.images.mean(0)).mean())

    start(small(architecture, steps=25, snapshot_steps=1000), digits, tmp_path / "short")
    start(small(architecture, steps=150, snapshot_steps=1000), digits, tmp_path / "long")
    assert distance(tmp_path / "long") < 0.7 * distance(tmp_path / "short")


def test_minutes_end_a_run(few, tmp_path):
    outcome = start(small("vae", minutes=0.01), few, tmp_path)
    assert outcome.ended == "minutes"
    assert outcome.progress.step > 0
    assert 0.6 <= outcome.progress.seconds < 10


def test_the_callers_random_stream_is_left_alone(few, tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    start(small("mlp_gan", steps=2), few, tmp_path)
    assert torch.rand(3).equal(wanted)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"architecture": "cvae"}, "its architecture is 'vae', not 'cvae'"),
        ({"seed": 2}, "its seed is 0, not 2"),
        ({"settings": {"generator_rate": 0.01}}, "its settings is"),
        ({"validation": 30}, "its validation is"),
    ],
)
def test_a_folder_belongs_to_one_run(few, tmp_path, fields, sentence):
    start(small("vae", steps=2), few, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = {"architecture": "vae", "steps": 2} | fields
    with pytest.raises(TrainingError, match=sentence):
        start(small(**other), few, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_belongs_to_one_set_of_images(few, digits, tmp_path):
    start(small("vae", steps=2), few, tmp_path)
    with pytest.raises(TrainingError, match="its images is"):
        start(small("vae", steps=2), digits, tmp_path)


def test_a_longer_run_goes_on_where_a_shorter_one_ended(few, tmp_path):
    start(small("vae", steps=4, snapshot_steps=2), few, tmp_path / "longer")
    outcome = start(small("vae", steps=8, snapshot_steps=2), few, tmp_path / "longer")
    whole = start(small("vae", steps=8, snapshot_steps=2), few, tmp_path / "whole")
    assert outcome.spec.weights == whole.spec.weights


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"architecture": "transformer"}, "not one of: cgan, cvae"),
        ({"name": "No Such Name"}, "name"),
        ({"seed": -1}, "seed"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1, "steps": 1}, "steps or epochs, not both"),
        ({"minutes": 0.0}, "minutes"),
        ({"validation": 10.5}, "whole number of images"),
        ({"settings": {"pixel_variance": 0.1}}, "pixel_variance"),
        ({"settings": {"generator_rat": 0.1}}, "did you mean 'generator_rate'"),
        ({"options": {"bas": 8}}, "cgan has no option 'bas'; it has: base, stages"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_what_no_run_can_be_is_refused(fields, sentence):
    with pytest.raises(TrainingError, match=sentence):
        configured(**{"architecture": "cgan", "name": "digits"} | fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"validation": 300}, "cannot keep 300 of 300"),
        ({"options": {"base": 1}}, "base"),
        ({"conditional": False, "settings": {"classification_weight": 1}}, "needs labels"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing(few, tmp_path, fields, sentence):
    with pytest.raises(Exception, match=sentence):
        start(small("cgan", **fields), few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_configuration_survives_as_json():
    size = {"height": 28, "width": 20, "channels": 3}
    config = small("cgan", settings={"loss": "bce"}, preprocessing=size, minutes=1.5, patience=None)
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config
    assert config.recipe.loss == "logistic"


@pytest.mark.parametrize("architecture", EVERY)
def test_the_names_of_options_are_those_of_the_architecture(architecture):
    assert set(OPTIONS[architecture]) == set(ARCHITECTURES[architecture].options.model_fields)


def test_few_images_make_small_batches(digits, tmp_path):
    outcome = start(small("vae", steps=2), digits.take(slice(30)), tmp_path)
    assert outcome.spec.training["recipe"]["batch_size"] == 28
    with pytest.raises(TrainingError, match="3 images are too few"):
        start(small("vae", steps=2), digits.take(slice(3)), tmp_path / "none")


@pytest.mark.parametrize("wanted", [0.1, 180, 0.5])
def test_validation_images_are_drawn_evenly_over_the_classes(digits, wanted):
    train, kept = hold_out(digits, wanted, seed=3)
    count = wanted if wanted >= 1 else round(wanted * len(digits))
    assert (len(train), len(kept)) == (len(digits) - count, count)
    exact = digits.counts * (count / len(digits))
    assert (np.abs(kept.counts - exact) < 1).all()
    both = np.concatenate([train.images, kept.images]).reshape(len(digits), -1)
    whole = digits.images.reshape(len(digits), -1)
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole))
    again = hold_out(digits, wanted, seed=3).validation
    assert (again.images == kept.images).all()
    assert (hold_out(digits, wanted, seed=4).validation.labels != kept.labels).any()


def test_rare_classes_are_on_both_sides(digits):
    rare = np.flatnonzero(digits.labels == 7)[2:]
    train, kept = hold_out(digits.take(np.setdiff1d(np.arange(1797), rare)), 0.1, seed=0)
    assert train.counts[7] == kept.counts[7] == 1
    assert hold_out(digits, 0, 0).validation is None


def test_the_classifier_learns_the_digits(digits):
    train, kept = digits.split(297)
    classifier = fit(train, Budget(epochs=4, batch_size=32))
    assert not classifier.training
    assert accuracy(classifier, kept) > 0.85
    probabilities = predict(classifier, kept.images[:7], batch_size=3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    again = fit(train, Budget(epochs=4, batch_size=32))
    assert (predict(again, kept.images[:7], batch_size=3) == probabilities).all()


def test_importing_the_commands_is_cheap():
    program = "import models.training.cli, models.evaluation.cli, models.training.progress, sys;"
    program += "assert not {'torch', 'matplotlib', 'sklearn'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
