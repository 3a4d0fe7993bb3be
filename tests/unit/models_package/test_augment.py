"""DiffAugment: random, image by image, and a gradient goes through."""

from __future__ import annotations

import pytest
import torch

from models.training.augment import TRANSFORMS, augment, cutout, translation

EVERY = sorted(TRANSFORMS)


@pytest.mark.parametrize("shape", [(6, 1, 8, 8), (6, 3, 9, 14)])
@pytest.mark.parametrize("name", EVERY)
def test_images_keep_shape_and_change_each_by_itself(name, shape):
    torch.manual_seed(0)
    one = torch.rand(1, *shape[1:]) * 2 - 1
    changed = augment(one.expand(64, -1, -1, -1), [name])
    assert changed.shape == (64, *shape[1:])
    assert changed.dtype == one.dtype
    assert len({image.numpy().tobytes() for image in changed}) > 5
    torch.manual_seed(4)
    first = augment(one.expand(64, -1, -1, -1), [name])
    torch.manual_seed(4)
    assert augment(one.expand(64, -1, -1, -1), [name]).equal(first)


@pytest.mark.parametrize("name", EVERY)
def test_the_gradient_is_that_of_finite_differences(name):
    torch.manual_seed(0)
    images = torch.randn(3, 2, 5, 6, dtype=torch.float64, requires_grad=True)

    def changed(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)
        return augment(x, [name])

    assert torch.autograd.gradcheck(changed, (images,))


def test_translation_moves_whole_pixels_by_an_eighth_at_most():
    """A single bright pixel in the middle stays one pixel, at most 2 of 16 away."""
    torch.manual_seed(0)
    images = torch.zeros(500, 1, 16, 24)
    images[:, :, 8, 12] = 1
    moved = translation(images)
    assert moved.sum(dim=(1, 2, 3)).eq(1).all()
    places = moved[:, 0].nonzero()[:, 1:] - torch.tensor([8, 12])
    assert places[:, 0].unique().tolist() == [-2, -1, 0, 1, 2]
    assert places[:, 1].unique().tolist() == [-3, -2, -1, 0, 1, 2, 3]
    corner = torch.ones(300, 1, 16, 16)
    assert translation(corner).sum(dim=(1, 2, 3)).unique().tolist() == sorted(
        {float(a * b) for a in (14, 15, 16) for b in (14, 15, 16)}
    )


def test_cutout_takes_at_most_half_of_each_side():
    torch.manual_seed(0)
    left = cutout(torch.ones(400, 2, 8, 12))
    assert set(left.unique().tolist()) == {0.0, 1.0}
    assert left[:, 0].equal(left[:, 1])
    holes = (1 - left[:, 0]).sum(dim=(1, 2))
    assert holes.max() == 4 * 6
    assert holes.min() >= 1
    assert (left[:, 0].mean(dim=0) < 1).all()  # anywhere


def test_colour_of_an_even_image_is_brightness_alone():
    torch.manual_seed(0)
    changed = augment(torch.full((400, 1, 4, 4), 0.2), ["colour"])
    assert changed.flatten(1).std(dim=1).max() < 1e-6
    shift = changed.mean(dim=(1, 2, 3)) - 0.2
    assert -0.5 <= shift.min() < -0.45
    assert 0.45 < shift.max() <= 0.5


def test_no_transform_changes_nothing():
    images = torch.randn(2, 1, 4, 4)
    assert augment(images, ()) is images
