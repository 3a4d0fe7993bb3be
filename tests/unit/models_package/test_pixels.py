"""Where floats become pixels, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import InputError, OutputShapeError
from models.generator import Generator, from_pixels, sample, to_pixels
from models.spec import ImageShape

RANGES = [(-1.0, 1.0), (0.0, 1.0), (-3.0, 5.0)]


def one_pixel(*values: float) -> Tensor:
    """float [N, 1, 1, 1] of the values."""
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1)


def test_known_answers():
    # 0.5 levels above a level goes to the even one: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2.
    values = [0.0, 255.0, 127.0, 0.5, 1.5, 2.5, 254.5, 0.49, -0.4, -7.0, 255.4, 900.0]
    wanted = [0, 255, 127, 0, 2, 2, 254, 0, 0, 0, 255, 255]
    pixels, finite, _ = to_pixels(one_pixel(*values), (0.0, 255.0))
    assert pixels.dtype == np.uint8
    assert pixels.ravel().tolist() == wanted
    assert finite.all()


@pytest.mark.parametrize(
    ("value_range", "value", "level"),
    [((-1.0, 1.0), -1.0, 0), ((-1.0, 1.0), 1.0, 255), ((-1.0, 1.0), 0.0, 128),
     ((0.0, 1.0), 0.2, 51), ((0.0, 1.0), 1.0, 255), ((-3.0, 5.0), 1.0, 128)],
)  # fmt: skip
def test_known_answers_of_ranges(value_range, value, level):
    assert to_pixels(one_pixel(value), value_range).pixels.item() == level


@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_comes_back(value_range, channels):
    levels = np.arange(256 * channels, dtype=np.int64) % 256
    pixels = levels.astype(np.uint8).reshape(1, 16, 16, channels)
    values = from_pixels(pixels, value_range)
    assert values.shape == (1, channels, 16, 16)
    assert values.dtype == torch.float32
    assert (to_pixels(values, value_range).pixels == pixels).all()


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_never_becomes_a_pixel(poison):
    images = torch.full((3, 2, 4, 4), 0.7)
    images[1, 1, 2, 3] = poison
    pixels, finite, _ = to_pixels(images, (0.0, 1.0))
    assert finite.tolist() == [True, False, True]
    assert not pixels[1].any()
    assert (pixels[[0, 2]] == round(0.7 * 255)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_taken(dtype):
    assert to_pixels(one_pixel(0.5).to(dtype), (0.0, 1.0)).pixels.item() == 128


def test_wrong_ranks_are_refused():
    with pytest.raises(OutputShapeError, match=r"\[N, C, H, W\]"):
        to_pixels(torch.zeros(3, 28, 28), (0.0, 1.0))
    with pytest.raises(InputError, match="uint8"):
        from_pixels(torch.zeros(1, 2, 2, 1), (0.0, 1.0))


def test_a_read_only_array_is_taken():
    pixels = np.frombuffer(bytes(range(16)), np.uint8).reshape(1, 4, 4, 1)
    assert (to_pixels(from_pixels(pixels, (0.0, 1.0)), (0.0, 1.0)).pixels == pixels).all()


class Planted(Generator):
    """Gives whatever tensor it is told to, and remembers how it was called."""

    family = "gan"
    value_range = (0.0, 1.0)

    def __init__(self, given: Tensor, class_count: int = 0) -> None:
        super().__init__(ImageShape(height=2, width=2, channels=1), 4, class_count)
        self.given = given
        self.anchor = torch.nn.Linear(1, 1)
        self.calls = 0

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        self.calls += 1
        assert not self.training
        assert torch.is_inference_mode_enabled()
        return self.given


def latents(count: int) -> np.ndarray:
    return np.zeros((count, 4), np.float32)


def test_sampling_enforces_eval_mode():
    generator = Planted(torch.zeros(3, 1, 2, 2)).train()
    assert sample(generator, latents(3), None).pixels.shape == (3, 2, 2, 1)
    assert not generator.training


def test_read_only_and_reversed_inputs_are_taken():
    generator = Planted(torch.zeros(3, 1, 2, 2), 2)
    labels = np.broadcast_to(np.int64(1), 3)
    assert sample(generator, latents(3)[::-1], labels).finite.all()


@pytest.mark.parametrize("shape", [(2, 1, 2, 2), (4, 1, 2, 2), (3, 3, 2, 2), (3, 1, 2, 3), (3, 4)])
def test_another_number_or_shape_of_images_is_an_error(shape):
    with pytest.raises(OutputShapeError, match="where"):
        sample(Planted(torch.zeros(shape)), latents(3), None)


@pytest.mark.parametrize(
    ("z", "labels", "classes"),
    [
        (np.zeros((3, 5), np.float32), None, 0),
        (np.zeros((3, 4), np.float64), None, 0),
        (np.zeros(4, np.float32), None, 0),
        (latents(3), np.zeros(3, np.int64), 0),
        (latents(3), None, 2),
        (latents(3), np.array([0, 1, 2]), 2),
        (latents(3), np.array([0, -1, 1]), 2),
        (latents(3), np.zeros(2, np.int64), 2),
        (latents(3), np.zeros(3, np.int32), 2),
        (latents(3), np.zeros((3, 1), np.int64), 2),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_inference(z, labels, classes):
    generator = Planted(torch.zeros(3, 1, 2, 2), classes)
    with pytest.raises(InputError):
        sample(generator, z, labels)
    assert generator.calls == 0


def test_an_empty_batch_is_no_error():
    pixels, finite, _ = sample(
        Planted(torch.zeros(0, 1, 2, 2), 2), latents(0), np.zeros(0, np.int64)
    )
    assert pixels.shape == (0, 2, 2, 1)
    assert finite.shape == (0,)
