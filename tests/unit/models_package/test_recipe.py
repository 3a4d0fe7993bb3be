"""Recipes are data: changed by name, within limits, described for forms."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from models.errors import TrainingError
from models.training.recipe import OF_AUTOENCODERS, OF_GANS, Recipe
from models.training.recipes import RECIPES, options_schema, recipe_of

EVERY = sorted(RECIPES)
GANS = ["cgan", "mlp_gan", "stylegan2"]


def test_text_and_json_say_the_same():
    by_text = {"betas": "0.5, 0.9", "critic_steps": "3", "augmentation": "translation,cutout"}
    by_json = {"betas": [0.5, 0.9], "critic_steps": 3, "augmentation": ["translation", "cutout"]}
    changed = RECIPES["cgan"].with_overrides(by_text)
    assert changed == RECIPES["cgan"].with_overrides(by_json)
    assert changed.betas == (0.5, 0.9)
    assert changed.augmentation == ("translation", "cutout")
    assert changed.partner_rate == RECIPES["cgan"].partner_rate
    assert RECIPES["cgan"].with_overrides({"augmentation": "none"}).augmentation == ()


@pytest.mark.parametrize("architecture", EVERY)
def test_nothing_to_change_changes_nothing_and_json_goes_both_ways(architecture):
    recipe = RECIPES[architecture]
    assert recipe.with_overrides({}) == recipe
    document = json.loads(json.dumps(recipe.as_json()))
    assert recipe.with_overrides(document) == recipe
    assert Recipe(**document) == recipe
    with pytest.raises(FrozenInstanceError):
        recipe.dropout = 0.5


@pytest.mark.parametrize(
    ("given", "loss"),
    [("bce", "logistic"), ("BCE", "logistic"), ("wgan-gp", "wasserstein"), ("hinge", "hinge")],
)
def test_losses_have_the_names_that_people_use(given, loss):
    assert RECIPES["mlp_gan"].with_overrides({"loss": given}).loss == loss


def test_wasserstein_brings_its_penalty_unless_told_otherwise():
    usual = RECIPES["cgan"].with_overrides({"loss": "wasserstein"})
    assert (usual.gradient_penalty, usual.critic_steps) == (10.0, 5)
    assert usual.discriminator_norm == "layer"
    own = {"loss": "wasserstein", "gradient_penalty": 1, "discriminator_norm": "none"}
    assert RECIPES["cgan"].with_overrides(own).gradient_penalty == 1
    assert RECIPES["cgan"].with_overrides(own).discriminator_norm == "none"
    again = usual.with_overrides({"loss": "wasserstein", "critic_steps": 2})
    assert again.with_overrides({"loss": "wgan-gp"}).critic_steps == 2


@pytest.mark.parametrize(
    ("architecture", "overrides", "sentence"),
    [
        ("cgan", {"drop_out": 0.1}, "no option 'drop_out'; did you mean 'dropout'?"),
        ("cgan", {"xyz": 0.1}, "no option 'xyz'; options are .*betas"),
        ("cgan", {"dropout": 1.5}, "dropout: .*less than 1"),
        ("cgan", {"dropout": "much"}, "dropout: .*number"),
        ("cgan", {"dropout": float("nan")}, "dropout: .*finite"),
        ("cgan", {"betas": "0.5"}, "betas"),
        ("cgan", {"loss": "perceptual"}, "loss: .*'logistic', 'hinge', 'wasserstein'"),
        ("cgan", {"loss": "elbo", "pixel_variance": 1}, "no option of a recipe with the loss elbo"),
        ("mlp_gan", {"loss": "elbo", "pixel_variance": 1}, "learns by logistic, hinge or"),
        ("vae", {"loss": "hinge", "pixel_variance": None}, "learns by elbo, not hinge"),
        ("cgan", {"pixel_variance": 0.1}, "pixel_variance is no option .* hinge"),
        ("cgan", {"kl_weight": 2}, "kl_weight is no option"),
        ("vae", {"critic_steps": 2}, "critic_steps is no option .* elbo"),
        ("cvae", {"augmentation": "cutout"}, "augmentation is no option"),
        ("vae", {"pixel_variance": None}, "elbo needs a pixel_variance"),
        ("cgan", {"augmentation": "mosaic"}, "augmentation: .*'translation', 'cutout'"),
        ("cgan", {"loss": "wasserstein", "gradient_penalty": 0}, "needs a gradient_penalty"),
        ("cgan", {"gradient_penalty": 1, "discriminator_norm": "batch"}, "another norm than batch"),
        ("cgan", {"batch_size": 30}, "batch_size: .*multiple of 4"),
    ],
)  # fmt: skip
def test_what_no_recipe_can_be_is_said(architecture, overrides, sentence):
    with pytest.raises(TrainingError, match=sentence):
        RECIPES[architecture].with_overrides(overrides)


def test_an_unknown_architecture_is_told_the_known_ones():
    with pytest.raises(TrainingError, match="not one of: cgan, cvae, mlp_gan, stylegan2, vae"):
        recipe_of("transformer")


@pytest.mark.parametrize("architecture", EVERY)
def test_the_schema_describes_every_option_that_the_architecture_has(architecture):
    schema = options_schema(architecture)
    foreign = OF_GANS if RECIPES[architecture].variational else OF_AUTOENCODERS
    assert set(schema["properties"]) == {field.name for field in fields(Recipe)} - {*foreign}
    for name, about in schema["properties"].items():
        assert len(about["description"]) > 20, name
        assert RECIPES[architecture].with_overrides({name: about["default"]})
    losses = schema["properties"]["loss"]["enum"]
    assert ("elbo" in losses) == (architecture in ("vae", "cvae"))
    assert json.loads(json.dumps(schema)) == schema


def test_a_checkpoint_records_what_differs():
    record = RECIPES["mlp_gan"].with_overrides({"loss": "bce", "clip_norm": 1}).record()
    assert record["loss"] == "logistic"
    assert record["clip_norm"] == 1
    assert record["dropout"] == 0.3
    assert "critic_steps" not in record
    assert "epochs" not in record


def test_the_articles_recipe():
    recipe = RECIPES["mlp_gan"]
    assert (recipe.loss, recipe.dropout, recipe.latent_size) == ("logistic", 0.3, 100)
    assert recipe.with_overrides({"pretraining_steps": 200}).pretraining_steps == 200


def test_the_documentation_names_every_option_and_its_defaults():
    """docs/training.md is no part of an installed package; the test is of the repository."""
    text = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    section = text.split("\n## Recipes\n")[1].split("\n## ")[0]
    names = {name for row in section.splitlines() for name in re.findall(r"`([a-z_]+)`", row)}
    assert {field.name for field in fields(Recipe)} <= names
    table = section.split("| default |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in table]
    rows = {name: values for name, *values in cells}
    for column, architecture in enumerate(["mlp_gan", "cgan", "stylegan2", "vae"]):
        recipe = RECIPES[architecture]
        said = {name: values[column] for name, values in rows.items() if values[column]}
        assert recipe.with_overrides(said) == recipe
        assert set(recipe.record()) - {"precision"} <= {*said, "epochs"}
    assert RECIPES["cvae"] == RECIPES["vae"]
