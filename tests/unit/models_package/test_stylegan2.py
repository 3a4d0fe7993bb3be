"""StyleGAN2 against a slow reference in NumPy, written from the equations, image by image."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save as dump_tensors
from torch import nn

from models import checkpoint
from models.errors import CheckpointError, SpecError
from models.files import WEIGHTS_FILE
from models.generator import sample
from models.latents import normal
from models.registry import build
from models.spec import Weights
from models.stylegan2_noise import noise_of
from models.training.recipes import RECIPES
from models.training.steps import pair_up

Arrays = dict[str, np.ndarray]
WIDTHS = (6, 5, 4)  # at 4, 8 and 16 pixels
OPTIONS = {"style_dim": 8, "mapping_layers": 3, "channels": list(WIDTHS)}
LATENT = 7


# The reference: float64, loops over images, layers, channels and pixels


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean() + 1e-8)


def reference_style(state: Arrays, z: np.ndarray, label: int | None) -> np.ndarray:
    x = unit(z)
    if label is not None:
        x = np.concatenate([x, unit(state["label.weight"][label])])
    for layer in range(1, OPTIONS["mapping_layers"] + 1):
        weight, bias = state[f"style.{layer}.weight"], state[f"style.{layer}.bias"]
        x = leaky(weight @ x * (0.01 / np.sqrt(len(x))) + 0.01 * bias)
    return x


def scales_of(state: Arrays, name: str, w: np.ndarray) -> np.ndarray:
    weight, bias = state[f"{name}.modulation.weight"], state[f"{name}.modulation.bias"]
    return weight @ w / np.sqrt(len(w)) + bias


def filters_of(state: Arrays, name: str, w: np.ndarray, demodulate: bool) -> np.ndarray:
    """Equations 1 to 3: the weights themselves, of one image: [O, C, k, k]."""
    weight = state[f"{name}.weight"][0]
    weight = weight / np.sqrt(np.prod(weight.shape[1:]))
    weight = weight * scales_of(state, name, w)[None, :, None, None]
    if demodulate:
        for o in range(len(weight)):
            weight[o] /= np.sqrt((weight[o] ** 2).sum() + 1e-8)
    return weight


def correlate(x: np.ndarray, weight: np.ndarray, pad: int) -> np.ndarray:
    """[C, H, W], [O, C, k, k] -> [O, H', W'], pixel by pixel."""
    k = weight.shape[-1]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = x.shape[1] - k + 1, x.shape[2] - k + 1
    out = np.zeros((len(weight), height, width))
    for row in range(height):
        for column in range(width):
            patch = x[:, row : row + k, column : column + k]
            out[:, row, column] = (weight * patch).sum(axis=(1, 2, 3))
    return out


def spread(x: np.ndarray) -> np.ndarray:
    """Zeros between pixels and after the last: [C, H, W] -> [C, 2H, 2W]."""
    out = np.zeros((len(x), 2 * x.shape[1], 2 * x.shape[2]))
    out[:, ::2, ::2] = x
    return out


def fir(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """Each channel convolved with [1, 3, 3, 1] x [1, 3, 3, 1] / 16."""
    row = np.array([1.0, 3.0, 3.0, 1.0])
    kernel = np.outer(row, row) / 16
    x = np.pad(x, ((0, 0), (before, after), (before, after)))
    return np.concatenate([correlate(channel[None], kernel[None, None], 0) for channel in x])


def reference_layer(
    state: Arrays, name: str, x: np.ndarray, w: np.ndarray, noise: np.ndarray | None, up: bool
) -> np.ndarray:
    weight = filters_of(state, f"{name}.conv", w, demodulate=True)
    if up:
        # A transposed convolution is a convolution of the spread image with turned filters.
        wide = spread(x)[:, :-1, :-1]
        x = fir(correlate(wide, weight[:, :, ::-1, ::-1], 2), 1, 1)
    else:
        x = correlate(x, weight, 1)
    if noise is not None:
        x = x + state[f"{name}.noise.weight"][0] * noise
    return leaky(x + state[f"{name}.activate.bias"][:, None, None])


def reference_colours(
    state: Arrays, name: str, x: np.ndarray, w: np.ndarray, below: np.ndarray | None
) -> np.ndarray:
    image = correlate(x, filters_of(state, f"{name}.conv", w, demodulate=False), 0)
    image = image + state[f"{name}.bias"][0]
    return image if below is None else image + fir(spread(below), 2, 1)


def reference_image(
    state: Arrays, styles: list[np.ndarray], noises: list[np.ndarray | None]
) -> np.ndarray:
    x = reference_layer(state, "conv1", state["input.input"][0], styles[0], noises[0], up=False)
    image = reference_colours(state, "to_rgb1", x, styles[1], None)
    for stage in range(len(WIDTHS) - 1):
        for step, up in ((0, True), (1, False)):
            at = 2 * stage + step
            name = f"convs.{at}"
            x = reference_layer(state, name, x, styles[at + 1], noises[at + 1], up)
        image = reference_colours(state, f"to_rgbs.{stage}", x, styles[2 * stage + 3], image)
    return image


# The tests


@pytest.fixture
def made(make_spec):
    """A generator with weights of every kind away from their start."""

    def make(classes: int = 0, **options):
        spec = make_spec(
            "stylegan2", (16, 16, 3), classes, latent_size=LATENT, options=OPTIONS | options
        )
        torch.manual_seed(5)
        generator = build(spec).eval()
        for name, parameter in generator.named_parameters():
            if name.endswith(("bias", "noise.weight")):
                nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.5)
        generator.latent_avg.copy_(generator.mean_style())
        generator.derive([name for name in generator.derived if name.startswith("noises.")])
        return spec, generator

    return make


def draw(count: int, classes: int = 0):
    z = normal(seed=2, model="cd" * 32, shard=0, first=0, count=count, size=LATENT)
    return z, np.arange(count, dtype=np.int64) % classes if classes else None


def images_of(generator, z, labels) -> np.ndarray:
    """Before anything is clamped, or the clamp would hide what is wrong: float64 [N, C, H, W]."""
    generator.value_range = (-1e9, 1e9)
    with torch.inference_mode():
        tensors = torch.from_numpy(z), None if labels is None else torch.from_numpy(labels)
        return generator(*tensors).double().numpy()


def state_of(generator) -> Arrays:
    return {name: tensor.double().numpy() for name, tensor in generator.state_dict().items()}


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("noise", ["off", "fixed", "seeded"])
def test_images_are_those_of_the_equations(made, classes, noise):
    _, generator = made(classes, noise=noise)
    state, (z, labels) = state_of(generator), draw(3, classes)
    sides = [4, 8, 8, 16, 16]
    own = noise_of(torch.from_numpy(z), sides)
    images = images_of(generator, z, labels)
    for i, row in enumerate(z):
        style = reference_style(state, row.astype(np.float64), None if labels is None else i % 3)
        noises = {
            "off": [None] * 5,
            "fixed": [state[f"noises.noise_{place}"][0] for place in range(5)],
            "seeded": [pictures[i].double().numpy() for pictures in own],
        }[noise]
        wanted = reference_image(state, [style] * 6, noises)
        assert np.abs(wanted).max() > 0.5
        np.testing.assert_allclose(images[i], wanted, rtol=0, atol=2e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(("psi", "reach"), [(0.5, None), (0.7, 2), (1.3, 6), (0.0, 0)])
def test_truncation_moves_the_first_layers_towards_the_mean(made, psi, reach):
    _, generator = made(noise="off", truncation=psi, truncation_layers=reach)
    state, (z, _) = state_of(generator), draw(2)
    mean = state["latent_avg"]
    images = images_of(generator, z, None)
    for row, image in zip(z, images, strict=True):
        style = reference_style(state, row.astype(np.float64), None)
        styles = [
            mean + psi * (style - mean) if reach is None or layer < reach else style
            for layer in range(6)
        ]
        wanted = reference_image(state, styles, [None] * 5)
        np.testing.assert_allclose(image, wanted, rtol=0, atol=2e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("classes", [0, 3])
def test_truncated_to_nothing_every_image_is_the_mean_one_of_its_class(made, classes):
    _, generator = made(classes, noise="off", truncation=0.0)
    z, labels = draw(6, classes)
    images = images_of(generator, z, labels)
    kinds = classes or 1
    for i in range(6):
        np.testing.assert_allclose(images[i], images[i % kinds], rtol=0, atol=1e-5)
    if classes:
        assert np.abs(images[0] - images[1]).max() > 1e-2


@pytest.mark.parametrize("classes", [0, 3])
def test_a_psi_that_is_asked_for_takes_the_place_of_the_spec_s(made, classes):
    z, labels = draw(3, classes)
    inputs = torch.from_numpy(z), None if labels is None else torch.from_numpy(labels)
    images = {}
    for psi in (0.4, 1.0):
        _, generator = made(classes, truncation=psi, truncation_layers=3)
        images[psi] = generator(*inputs)
    _, generator = made(classes, truncation=0.7, truncation_layers=3)
    for psi, wanted in images.items():
        assert torch.equal(generator(*inputs, psi), wanted)
    assert not torch.equal(generator(*inputs), images[0.4])


def test_noise_belongs_to_the_sample_and_not_to_its_batch(made):
    z = torch.from_numpy(draw(5)[0])
    whole = noise_of(z, [4, 8])
    alone = noise_of(z[3:4], [4, 8])
    turned = noise_of(z.flip(0), [4, 8])
    for pictures, one, others in zip(whole, alone, turned, strict=True):
        assert pictures[3].equal(one[0])
        assert pictures.flip(0).equal(others)
    _, generator = made(noise="seeded")
    latents, _ = draw(5)
    pixels = sample(generator, latents, None).pixels
    assert np.array_equal(sample(generator, latents, None).pixels, pixels)
    single = sample(generator, latents[3:4], None).pixels[0].astype(int)
    assert np.abs(single - pixels[3]).max() <= 1


def test_noise_is_standard_normal_and_differs_between_samples():
    noise = torch.cat([picture.flatten() for picture in noise_of(torch.randn(40, 3), [32, 32])])
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    one, other = noise_of(torch.tensor([[0.0, 1.0], [0.0, 1.0000001]]), [32])[0]
    assert abs(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]) < 0.15


COMMON_NAMES = {
    "input.input": [1, 6, 4, 4],
    "style.1.weight": [8, LATENT],
    "style.3.bias": [8],
    "conv1.conv.weight": [1, 6, 6, 3, 3],
    "conv1.conv.modulation.weight": [6, 8],
    "conv1.noise.weight": [1],
    "conv1.activate.bias": [6],
    "to_rgb1.bias": [1, 3, 1, 1],
    "to_rgb1.conv.weight": [1, 3, 6, 1, 1],
    "convs.0.conv.blur.kernel": [4, 4],
    "convs.0.conv.weight": [1, 5, 6, 3, 3],
    "convs.3.conv.weight": [1, 4, 4, 3, 3],
    "convs.3.activate.bias": [4],
    "to_rgbs.1.upsample.kernel": [4, 4],
    "to_rgbs.1.conv.modulation.bias": [4],
    "noises.noise_0": [1, 1, 4, 4],
    "noises.noise_4": [1, 1, 16, 16],
}


def test_tensors_have_the_names_and_shapes_that_are_shared(made):
    shapes = {name: list(tensor.shape) for name, tensor in made()[1].state_dict().items()}
    assert shapes | COMMON_NAMES == shapes
    assert len(shapes) == 3 * 2 + 1 + 5 * 5 + 3 * 4 + 2 + 2 + 5 + 1


@pytest.mark.parametrize("lacking", ["latent_avg", "kernel", "noises", "all three"])
def test_a_file_may_lack_what_follows_from_the_rest(made, tmp_path, lacking):
    spec, generator = made(noise="fixed", truncation=0.5)
    state = {
        name: tensor.contiguous()
        for name, tensor in generator.state_dict().items()
        if name not in generator.derived or (lacking != "all three" and lacking not in name)
    }
    content = dump_tensors(state)
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    weights = Weights(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    spec = spec.model_copy(update={"weights": weights})
    loaded = checkpoint.load(spec, tmp_path / WEIGHTS_FILE)
    z, _ = draw(4)
    np.testing.assert_allclose(
        images_of(loaded, z, None), images_of(generator, z, None), rtol=0, atol=1e-4
    )


def test_a_file_without_a_weight_is_refused(made, tmp_path):
    spec, generator = made()
    state = {name: tensor.contiguous() for name, tensor in generator.state_dict().items()}
    del state["convs.1.conv.weight"]
    content = dump_tensors(state)
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    weights = Weights(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    with pytest.raises(CheckpointError, match=r"lack convs\.1\.conv\.weight"):
        checkpoint.load(spec.model_copy(update={"weights": weights}), tmp_path / WEIGHTS_FILE)


def test_channels_are_one_for_each_resolution(make_spec):
    with pytest.raises(SpecError, match=r"2 numbers where an image of 16 pixels takes 3"):
        build(make_spec("stylegan2", (16, 16, 3), options={"channels": [4, 4]}))


@pytest.mark.parametrize("multiplier", [1, 2])
def test_channels_of_the_shared_checkpoints(make_spec, multiplier):
    """512 up to 32 pixels, then 256, 128, 64, 32, 16 times the multiplier, at most 512."""
    options = {"channel_base": 16384 * multiplier, "noise": "off"}
    with torch.device("meta"):
        generator = build(make_spec("stylegan2", (1024, 1024, 3), 0, options=options))
    out = [layer.conv.weight.shape[0] for layer in list(generator.convs)[::2]]
    halves = [256 * multiplier // 2**step for step in range(5)]
    assert out == [512, 512, 512, *halves]


def test_training_makes_digits_of_the_noise(make_spec, digits):
    """After 150 steps the mean image of each class is near that of the real ones."""
    torch.manual_seed(0)
    options = {"style_dim": 32, "mapping_layers": 2, "channel_base": 128, "channel_max": 16}
    spec = make_spec("stylegan2", (8, 8, 1), 10, options=options | {"noise": "off"})
    generator = build(spec)
    pair = pair_up(spec, generator, RECIPES["stylegan2"], steps=150)
    real = torch.from_numpy(digits.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels = torch.from_numpy(digits.labels)

    def distance() -> float:
        """Between the mean images of each class, in units of the range, largest over classes."""
        z = normal(seed=1, model="0" * 64, shard=0, first=0, count=640, size=spec.latent_size)
        asked = np.arange(640, dtype=np.int64) % 10
        pixels = sample(generator, z, asked).pixels.astype(np.float64)
        return max(
            np.abs(
                pixels[asked == k].mean(axis=0) - digits.images[digits.labels == k].mean(axis=0)
            ).mean()
            / 255
            for k in range(10)
        )

    before = distance()
    generator.train()
    for step in range(150):
        chosen = torch.randint(len(real), (64,))
        losses = pair.update(real[chosen], labels[chosen], step)
        assert all(np.isfinite(loss) for loss in losses.values())
    assert distance() < before / 2
