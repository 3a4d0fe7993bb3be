"""The shipped models are what their specs and cards say."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import checkpoint
from models.evaluation.draw import draw_labelled
from models.files import WEIGHTS_FILE, read_classifier_spec
from models.generator import sample
from models.latents import normal
from models.registry import build
from models.training.callbacks import write_contact_sheet
from models.training.classify import predict
from models.zoo.catalogue import (
    shipped,
    shipped_classifiers,
    shipped_model,
    zoo_folder,
)

LIMIT = 3 * 2**20
CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle-boot",
)  # fmt: skip
NAMES = ["fashion-cgan", "fashion-cvae", "fashion-gan"]
JUDGE = "fashion-classifier"


@pytest.fixture(scope="module")
def judge():
    (classifier,) = shipped_classifiers()
    return checkpoint.load_classifier(classifier.spec, classifier.weights_path)


def test_the_catalogue_lists_the_generators_only():
    assert [model.spec.name for model in shipped()] == NAMES
    assert [classifier.spec.name for classifier in shipped_classifiers()] == [JUDGE]
    assert [model.directory.name for model in shipped()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_small_and_its_digest_is_its_content(name):
    model = shipped_model(name)
    content = model.weights_path.read_bytes()
    assert len(content) <= LIMIT
    assert len(content) == model.spec.weights.bytes
    assert hashlib.sha256(content).hexdigest() == model.spec.weights.sha256
    assert model.spec.version == ("1.1.0" if name == "fashion-cgan" else "1.0.0")
    assert model.spec.licence == "Apache-2.0"
    assert model.spec.classes == (() if name == "fashion-gan" else CLASSES)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_loads_and_gives_finite_varied_images(name):
    spec = shipped_model(name).spec
    generator = checkpoint.load(spec, shipped_model(name).weights_path)
    z = normal(seed=7, model=spec.sha256, shard=0, first=0, count=40, size=spec.latent_size)
    labels = np.arange(40) % 10 if spec.conditional else None
    pixels, finite, _ = sample(generator, z, labels)
    assert finite.all()
    assert pixels.shape == (40, 28, 28, 1)
    assert len({image.tobytes() for image in pixels}) == 40
    assert pixels.min() == 0
    assert pixels.max() > 200


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_the_specs_figures(name):
    model = shipped_model(name)
    card = model.card_path.read_text()
    figures = model.spec.figures
    keys = ["utility", "utility_of_real", "mean_confidence"]
    keys += ["label_agreement"] if model.spec.conditional else []
    for key in keys:
        assert f"{figures[key]:.4f}" in card, key
    for key in ("agreement_samples", "utility_samples", "real_images"):
        assert f"{figures[key]:,}" in card, key
    for class_name, share in figures["class_agreement"].items():
        assert f"| {class_name} | {share:.4f} |" in card
    assert model.spec.weights.sha256 in card
    assert "MIT" in card
    assert "Zalando" in card
    for fact in ("epochs", "minutes", "seed", "steps"):
        assert f"| {fact} | {model.spec.training[fact]} |" in card
    for version in model.spec.training["versions"].values():
        assert version in card
    assert "## What was tried" in card


@pytest.mark.parametrize("name", [*NAMES, JUDGE])
def test_the_files_beside_the_card_exist(name):
    folder = zoo_folder() / name
    pictures = ["preview.png", "curve.png"] if name != JUDGE else []
    for picture in pictures:
        with Image.open(folder / picture) as image:
            image.verify()
    assert (folder / "card.md").stat().st_size > 500


@pytest.mark.parametrize("name", NAMES)
def test_the_preview_is_drawn_by_the_shipped_weights(name, tmp_path):
    """Ten rows of ten; within one grey level, as another processor may round the other way."""
    model = shipped_model(name)
    generator = checkpoint.load(model.spec, model.weights_path)
    write_contact_sheet(tmp_path / "again.png", generator, columns=10)
    with Image.open(model.preview_path) as shown, Image.open(tmp_path / "again.png") as drawn:
        assert shown.size == (300, 300)
        difference = np.asarray(shown).astype(int) - np.asarray(drawn).astype(int)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("name", ["fashion-cgan", "fashion-cvae"])
def test_the_judge_agrees_about_as_often_as_the_card_says(name, judge):
    """600 samples: four standard errors about the figure."""
    model = shipped_model(name)
    generator = checkpoint.load(model.spec, model.weights_path)
    drawn = draw_labelled(model.spec, generator, per_class=60, seed=3)
    agreed = float((predict(judge, drawn.images).argmax(axis=1) == drawn.labels).mean())
    figure = model.spec.figures["label_agreement"]
    assert abs(agreed - figure) < 4 * np.sqrt(figure * (1 - figure) / 600) + 0.005


def test_the_aims_are_reached():
    figures = shipped_model("fashion-cgan").spec.figures
    assert figures["label_agreement"] >= 0.95
    assert figures["utility"] >= 0.84
    judge = read_classifier_spec(zoo_folder() / JUDGE)
    assert judge.figures["test_accuracy"] >= 0.91
    assert judge.figures["test_images"] == 10_000


def test_the_judge_is_small_and_its_digest_is_its_content():
    spec = read_classifier_spec(zoo_folder() / JUDGE)
    content = (zoo_folder() / JUDGE / WEIGHTS_FILE).read_bytes()
    assert len(content) <= LIMIT
    assert hashlib.sha256(content).hexdigest() == spec.weights.sha256
    assert spec.classes == CLASSES
    card = (zoo_folder() / JUDGE / "card.md").read_text()
    assert f"**{spec.figures['test_accuracy']:.4f}**" in card


def test_the_gan_is_the_articles_size():
    spec = shipped_model("fashion-gan").spec
    parameters = sum(parameter.numel() for parameter in build(spec).parameters())
    assert (spec.latent_size, parameters) == (100, 1_506_448)


def test_the_documentation_says_the_same_figures():
    """docs/models.md is no part of an installed package; the test is of the repository."""
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    for model in shipped():
        figures = model.spec.figures
        agreement = figures["label_agreement"]
        shown = "none: it takes no label" if agreement is None else f"{agreement:.4f}"
        row = f"| `{model.spec.name}` | {shown} | {figures['utility']:.4f} | "
        assert f"{row}{model.spec.weights.bytes / 2**20:.2f} MiB |" in text
    judge = read_classifier_spec(zoo_folder() / JUDGE)
    assert f"{judge.figures['test_accuracy']:.4f}" in text
    assert f"{judge.figures['utility_of_real']:.4f}" in text


def test_the_documentations_example_runs():
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    program = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(program, "docs/models.md", "exec"), names)
    made = names["made"]
    assert made.pixels.shape == (20, 28, 28, 1)
    assert made.finite.all()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(checkpoint.CheckpointError, match="fashion-cgan, fashion-cvae"):
        shipped_model("fashion-diffusion")


def test_a_preview_opens_from_bytes():
    for model in shipped():
        with Image.open(io.BytesIO(model.preview_path.read_bytes())) as image:
            assert image.format == "PNG"
