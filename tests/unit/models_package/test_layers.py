"""Layers as they draw, against the same written plainly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import LabelledBatchNorm, Upsampler, thin_convolution
from models.spec import ImageShape


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def used_norm(channels: int, classes: int) -> LabelledBatchNorm:
    """A norm with statistics, gains and shifts that training may leave behind."""
    norm = LabelledBatchNorm(channels, classes)
    assert norm.norm.running_mean is not None
    assert norm.norm.running_var is not None
    norm.norm.running_mean.normal_(0, 3)
    norm.norm.running_var.uniform_(0.01, 9)
    for embedding in (norm.gain, norm.shift):
        if embedding is not None:
            nn.init.normal_(embedding.weight, 1.0, 0.5)
    return norm


def plainly(norm: LabelledBatchNorm, x: Tensor, labels: Tensor | None) -> Tensor:
    normed = norm.norm(x)
    if norm.gain is None or norm.shift is None:
        return normed
    return normed * norm.gain(labels)[:, :, None, None] + norm.shift(labels)[:, :, None, None]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("classes", [0, 4])
def test_a_labelled_norm_is_a_norm_and_a_line_of_the_label(classes: int, training: bool) -> None:
    norm = used_norm(6, classes).train(training)
    labels = torch.arange(8) % classes if classes else None
    x = torch.randn(8, 6, 5, 5, requires_grad=True)
    expected, made = plainly(norm, x, labels), norm(x, labels)
    assert torch.allclose(made, expected, rtol=1e-5, atol=1e-5)
    [wanted], [found] = (torch.autograd.grad(y.square().sum(), x) for y in (expected, made))
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_a_thin_convolution_is_the_layer(channels: int, bias: bool) -> None:
    layer = nn.Conv2d(32, channels, 3, 1, 1, bias=bias)
    x = torch.randn(5, 32, 9, 7).to(memory_format=torch.channels_last)
    with torch.no_grad():
        made = thin_convolution(x, layer)
        assert made.shape == (5, channels, 9, 7)
        assert torch.allclose(made, layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [0, 4])
def test_drawing_gives_what_training_would_see(channels: int, classes: int) -> None:
    """Without gradients other kernels run, in place; the image is the same."""
    image = ImageShape(width=10, height=9, channels=channels)
    trunk = Upsampler(image, 6, classes, base=8, stages=2).eval()
    trunk.norms = nn.ModuleList(used_norm(norm.norm.num_features, classes) for norm in trunk.norms)
    trunk.eval()
    z, labels = torch.randn(7, 6), torch.arange(7) % classes if classes else None
    x = F.relu(
        plainly(trunk.norms[0], trunk.paint(trunk.join(z, labels)).reshape(-1, *trunk.grid), labels)
    )
    for doubling, norm in zip(trunk.doublings, list(trunk.norms)[1:], strict=True):
        x = F.relu(plainly(norm, doubling(x), labels))
    expected = trunk.finish(x)[:, :, 1:10, 1:11]
    kept = z.clone()
    with torch.inference_mode():
        made = trunk(z, labels)
    assert made.shape == (7, channels, 9, 10)
    assert torch.allclose(made, expected, rtol=1e-4, atol=1e-4)
    assert torch.allclose(trunk(z, labels), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(z, kept)
