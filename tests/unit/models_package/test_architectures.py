"""Facts that every architecture of the registry holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.errors import SpecError
from models.generator import sample
from models.latents import normal
from models.layers import MinibatchSpread, centre_crop
from models.registry import ARCHITECTURES, build
from models.training.recipes import RECIPES
from models.training.steps import pair_up
from models.vae import LabelledPrior, Posterior

SIZES = [(28, 28, 1), (32, 32, 3), (9, 14, 3), (8, 5, 1)]
EVERY = sorted(ARCHITECTURES)


def draw(size: int, count: int, classes: int):
    z = normal(seed=5, model="ab" * 32, shard=0, first=0, count=count, size=size)
    labels = np.arange(count, dtype=np.int64) % classes if classes else None
    return z, labels


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("architecture", EVERY)
def test_images_have_the_shape_and_range_of_the_spec(make_spec, architecture, size, classes):
    spec = make_spec(architecture, size, classes)
    generator = build(spec).eval()
    z, labels = draw(spec.latent_size, 6, classes)
    pixels, finite, _ = sample(generator, z, labels)
    assert pixels.shape == (6, *size)
    assert finite.all()
    with torch.inference_mode():
        images = generator(
            torch.from_numpy(30 * z), None if labels is None else torch.from_numpy(labels)
        )
    low, high = spec.value_range
    assert low <= images.min()
    assert images.max() <= high


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("architecture", EVERY)
def test_a_sample_alone_equals_it_in_a_batch(make_spec, architecture, classes):
    """Floats within 1e-5 of the range, so pixels within one level.

    The matrix product of one row and of many are summed in another order: float32 rounding, of a
    few units in the last place for each layer. It is not bit-equal, which is why the service pads
    its batches to one size.
    """
    spec = make_spec(architecture, classes=classes)
    generator = build(spec)
    z, labels = draw(spec.latent_size, 33, classes)
    whole = sample(generator, z, labels).pixels.astype(np.int16)
    for i in (0, 7, 32):
        alone = sample(generator, z[i : i + 1], None if labels is None else labels[i : i + 1])
        assert np.abs(alone.pixels[0].astype(np.int16) - whole[i]).max() <= 1


@pytest.mark.parametrize("architecture", EVERY)
def test_neighbours_in_the_batch_do_not_matter(make_spec, architecture):
    """In a batch of the same size, row i depends on latent and label i only: to the bit."""
    spec = make_spec(architecture)
    generator = build(spec)
    z, labels = draw(spec.latent_size, 16, 3)
    whole = sample(generator, z, labels).pixels
    z[1:], labels[1:] = -z[1:], 2
    assert (sample(generator, z, labels).pixels[0] == whole[0]).all()


@pytest.mark.parametrize("architecture", EVERY)
def test_latent_and_label_both_change_the_image(make_spec, architecture):
    spec = make_spec(architecture)
    generator = build(spec)
    for norm in (part for part in generator.modules() if isinstance(part, nn.Embedding)):
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(3))
    z, _ = draw(spec.latent_size, 2, 3)
    same = np.repeat(z[:1], 2, axis=0)
    by_label = sample(generator, same, np.array([0, 1])).pixels
    by_latent = sample(generator, z, np.array([1, 1])).pixels
    assert (by_label[0] != by_label[1]).any()
    assert (by_latent[0] != by_latent[1]).any()


def test_the_mlp_gan_is_the_articles_network(make_spec):
    spec = make_spec("mlp_gan", classes=0, latent_size=100)
    generator = build(spec)
    layers = [part for part in generator.modules() if not list(part.children())]
    widths = [(part.in_features, part.out_features) for part in layers if hasattr(part, "weight")]
    assert widths == [(100, 128), (128, 256), (256, 512), (512, 1024), (1024, 784)]
    slopes = [part.negative_slope for part in layers if isinstance(part, nn.LeakyReLU)]
    assert slopes == [0.2] * 4
    assert spec.value_range == (-1.0, 1.0)


def test_every_architecture_has_a_recipe():
    assert set(RECIPES) == set(ARCHITECTURES)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("size", [(28, 28, 1), (9, 14, 3)])
@pytest.mark.parametrize("architecture", EVERY)
def test_a_pair_takes_a_step(make_spec, architecture, size, classes):
    spec = make_spec(architecture, size, classes)
    generator = build(spec)
    before = [parameter.detach().clone() for parameter in generator.parameters()]
    pair = pair_up(spec, generator, RECIPES[architecture], steps=1)
    height, width, channels = size
    labels = torch.arange(8) % classes if classes else None
    losses = pair.update(torch.rand(8, channels, height, width), labels, 0)
    assert all(np.isfinite(loss) for loss in losses.values())
    for old, new in list(zip(before, generator.parameters(), strict=True))[-2:]:
        assert not old.equal(new)
    assert all(parameter.requires_grad for parameter in pair.partner.parameters())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"architecture": "transformer"}, "not one of: cgan, cvae, mlp_gan, stylegan2, vae"),
        ({"family": "vae"}, "family 'gan'"),
        ({"value_range": (0.0, 1.0)}, "span"),
        ({"options": {"base": 8, "depth": 3}}, "option depth"),
        ({"options": {"base": 10**6}}, "option base"),
        ({"options": {"stages": "many"}}, "option stages"),
    ],
)
def test_a_spec_that_its_architecture_cannot_be_is_refused(make_spec, fields, sentence):
    with pytest.raises(SpecError, match=sentence):
        build(make_spec("cgan").model_copy(update=fields))


def random_prior() -> LabelledPrior:
    prior = LabelledPrior(3, 2)
    stream = torch.Generator().manual_seed(4)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.5, generator=stream)
    return prior


def test_codes_of_a_class_are_drawn_from_its_normal():
    prior = random_prior()
    z = torch.randn(100_000, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        codes = prior(z, torch.ones(len(z), dtype=torch.int64))
    lower = prior.factor[1].tril(-1) + torch.diag(prior.factor[1].diagonal().exp())
    torch.testing.assert_close(codes.mean(0), prior.centre[1], rtol=0, atol=0.02)
    torch.testing.assert_close(codes.T.cov(), lower @ lower.T, rtol=0, atol=0.04)


def test_divergence_is_that_of_torch_distributions():
    prior = random_prior()
    stream = torch.Generator().manual_seed(2)
    mean, log_variance = torch.randn(2, 5, 3, generator=stream)
    labels = torch.tensor([0, 1, 1, 0, 1])
    lower = prior.factor.tril(-1) + torch.diag_embed(prior.factor.diagonal(dim1=1, dim2=2).exp())
    posterior = torch.distributions.MultivariateNormal(mean, torch.diag_embed(log_variance.exp()))
    target = torch.distributions.MultivariateNormal(prior.centre[labels], scale_tril=lower[labels])
    wanted = torch.distributions.kl_divergence(posterior, target)
    torch.testing.assert_close(prior.divergence(Posterior(mean, log_variance), labels), wanted)


def test_a_fresh_prior_is_the_standard_normal():
    standard = Posterior(torch.zeros(2, 3), torch.zeros(2, 3))
    assert LabelledPrior(3, 0).divergence(standard, None).tolist() == [0, 0]
    z = torch.randn(4, 3)
    assert LabelledPrior(3, 0)(z, None).equal(z)


def test_crops_are_central():
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert centre_crop(x, 4, 3)[0, 0, 0].tolist() == [7, 8, 9]
    assert centre_crop(x, 6, 6).equal(x)


def test_minibatch_spread_sees_each_group_alone():
    same, varied = torch.ones(4, 2, 3, 3), torch.arange(72.0).reshape(4, 2, 3, 3)
    planes = MinibatchSpread()(torch.cat([same, varied]))[:, -1]
    assert planes[:4].max() < 1e-3
    spread = varied.std(dim=0, correction=0).mean()
    torch.testing.assert_close(planes[4:], spread.expand(4, 3, 3))
