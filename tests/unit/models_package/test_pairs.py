"""Each architecture learns by each of its losses; options do what their papers say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.errors import TrainingError
from models.generator import from_pixels
from models.registry import ARCHITECTURES, build
from models.training.discriminators import MlpDiscriminator, Parts
from models.training.pair import Pair
from models.training.recipes import RECIPES
from models.training.sampling import Batches
from models.training.steps import pair_up

GANS = [name for name in sorted(RECIPES) if not RECIPES[name].variational]
VAES = [name for name in sorted(RECIPES) if RECIPES[name].variational]
LOSSES = [(name, loss) for name in GANS for loss in ("logistic", "hinge", "wasserstein")]
LOSSES += [(name, "elbo") for name in VAES]


@pytest.fixture
def paired(make_spec):
    """A pair of any architecture for the digits, first weights from a seed."""

    def make(architecture: str, classes: int = 10, **options: object) -> Pair:
        torch.manual_seed(0)
        recipe = RECIPES[architecture].with_overrides({"batch_size": 16, **options})
        spec = make_spec(architecture, (8, 8, 1), classes)
        return pair_up(spec, build(spec), recipe, steps=20)

    return make


@pytest.fixture
def learn(digits):
    """Some steps of a pair on the digits, each with its own random stream."""
    batches = Batches(digits, 16, 0)

    def steps(pair: Pair, first: int, count: int) -> list[dict[str, float]]:
        losses = []
        for step in range(first, first + count):
            pixels, labels = batches.at(step)
            images = from_pixels(pixels, pair.generator.value_range)
            given = torch.from_numpy(labels) if pair.generator.class_count else None
            torch.manual_seed(step)
            losses.append(pair.update(images, given, step))
        return losses

    return steps


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(a.equal(b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("classes", [0, 10])
@pytest.mark.parametrize(("architecture", "loss"), LOSSES)
def test_each_architecture_learns_by_each_loss(paired, learn, architecture, loss, classes):
    pair = paired(architecture, classes, loss=loss)
    generator, partner = weights(pair.generator), weights(pair.partner)
    losses = learn(pair, 0, 6)
    assert all(np.isfinite(list(row.values())).all() for row in losses)
    assert len({tuple(row) for row in losses}) == 1
    assert not same(weights(pair.generator), generator)
    assert not same(weights(pair.partner), partner)


OPTIONS = [
    ("cgan", {"discriminator_norm": "batch"}),
    ("cgan", {"discriminator_norm": "layer", "dropout": 0.2}),
    ("cgan", {"discriminator_norm": "none", "initialisation": "he", "clip_norm": 1}),
    ("cgan", {"classification_weight": 0.5, "augmentation": "colour,translation,cutout"}),
    ("cgan", {"precision": "bfloat16", "loss": "wasserstein"}),
    ("mlp_gan", {"discriminator_norm": "batch", "classification_weight": 1}),
    ("mlp_gan", {"discriminator_norm": "spectral", "rate_decay": "cosine", "weight_decay": 0.01}),
    ("mlp_gan", {"discriminator_norm": "layer", "initialisation": "normal"}),
    ("stylegan2", {"gradient_penalty": 1, "augmentation": "cutout"}),
    ("stylegan2", {"initialisation": "he", "precision": "bfloat16"}),
    ("vae", {"dropout": 0.2, "kl_weight": 4, "kl_warmup_steps": 4, "weight_decay": 0.01}),
    ("cvae", {"dropout": 0.2, "clip_norm": 1, "initialisation": "normal", "rate_decay": "linear"}),
]


@pytest.mark.parametrize(("architecture", "options"), OPTIONS)
def test_each_option_learns(paired, learn, architecture, options):
    losses = learn(paired(architecture, **options), 0, 4)
    assert all(np.isfinite(list(row.values())).all() for row in losses)


@pytest.mark.parametrize("architecture", GANS)
def test_the_discriminator_learns_alone_at_first(paired, learn, architecture):
    pair = paired(architecture, pretraining_steps=3)
    generator, partner = weights(pair.generator), weights(pair.partner)
    learn(pair, 0, 3)
    assert same(weights(pair.generator), generator)
    assert not same(weights(pair.partner), partner)
    learn(pair, 3, 1)
    assert not same(weights(pair.generator), generator)


def test_the_generator_learns_at_every_so_many_steps_of_the_critic(paired, learn):
    pair = paired("mlp_gan", loss="wasserstein", critic_steps=3, pretraining_steps=1)
    changed = []
    for step in range(7):
        before = weights(pair.generator)
        learn(pair, step, 1)
        changed.append(not same(weights(pair.generator), before))
    assert changed == [False, False, False, True, False, False, True]


def test_a_discriminator_that_learns_alone_gets_better(paired, learn):
    losses = learn(paired("mlp_gan", pretraining_steps=20), 0, 20)
    assert losses[-1]["discriminator"] < losses[0]["discriminator"] - 0.3


def test_an_auxiliary_classifier_learns_the_digits(paired, learn):
    pair = paired("mlp_gan", classification_weight=1, partner_rate=1e-3, dropout=0)
    told = [row["classification"] for row in learn(pair, 0, 60)]
    assert np.mean(told[:3]) > 2
    assert np.mean(told[-5:]) < 1


def test_a_classifier_does_not_read_the_answer(make_spec):
    """Which class an image shows must not depend on the label that is asked about."""
    spec = make_spec("mlp_gan", (8, 8, 1), 10)
    discriminator = MlpDiscriminator(spec.image, 10, Parts(classifier=True)).eval()
    images = torch.rand(8, 1, 8, 8)
    first = discriminator(images, torch.zeros(8, dtype=torch.int64))
    second = discriminator(images, torch.arange(8))
    assert first.classes.equal(second.classes)
    assert not first.realness.equal(second.realness)


def test_spectral_norm_bounds_every_layer(paired, learn):
    pair = paired("cgan")
    learn(pair, 0, 3)
    pair.partner.eval()
    layers = [m for m in pair.partner.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(layers) == 6
    for layer in layers:
        matrix = layer.weight.detach().flatten(1)
        assert torch.linalg.matrix_norm(matrix, 2).item() < 1.6


def test_the_divergence_costs_nothing_at_first(paired, learn):
    """In a long warm-up, codes say more (more nats) than with the whole weight at once."""
    options = {"generator_rate": 3e-3, "partner_rate": 3e-3}
    warm = learn(paired("vae", kl_warmup_steps=10_000, **options), 0, 40)
    cold = learn(paired("vae", kl_weight=4, **options), 0, 40)
    assert warm[0]["divergence"] == pytest.approx(cold[0]["divergence"])
    assert warm[-1]["divergence"] > 2 * cold[-1]["divergence"]


def test_the_articles_discriminator(make_spec):
    spec = make_spec("mlp_gan", (28, 28, 1), 0)
    pair = pair_up(spec, build(spec), RECIPES["mlp_gan"], steps=1)
    layers = [layer for layer in pair.partner.modules() if isinstance(layer, nn.Linear)]
    widths = [(layer.in_features, layer.out_features) for layer in layers]
    assert widths == [(784, 1024), (1024, 512), (512, 256), (256, 1)]
    assert {m.p for m in pair.partner.modules() if isinstance(m, nn.Dropout)} == {0.3}


def test_classes_cannot_be_told_without_labels(paired):
    with pytest.raises(TrainingError, match="classification_weight needs labels"):
        paired("cgan", classes=0, classification_weight=1)


def test_float16_is_for_a_gpu(paired):
    with pytest.raises(TrainingError, match="float16 needs a GPU"):
        paired("cgan", precision="float16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_float16_keeps_its_scale_with_the_run(make_spec, digits, architecture):
    with torch.device("cuda"):
        spec = make_spec(architecture, (8, 8, 1), 10)
        recipe = RECIPES[architecture].with_overrides({"precision": "float16"})
        pair, again = (pair_up(spec, build(spec), recipe, 10) for _ in range(2))
    images = from_pixels(digits.images[:16], pair.generator.value_range).cuda()
    losses = pair.update(images, torch.from_numpy(digits.labels[:16]).cuda(), 0)
    assert np.isfinite(list(losses.values())).all()
    again.restore_scales(pair.scales())
    assert {k: v.item() for k, v in again.scales().items()} == {
        k: v.item() for k, v in pair.scales().items()
    }
    assert pair.scales()
