"""Transforms: the recorded parameters give the same pixels by torchvision, called by hand."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from app.datasets.encoders import encoder_of
from app.engine.transforms import Changer
from app.errors import ValidationError
from app.jobs.encoded import Candidates, encoded
from app.jobs.encoding import PNG
from app.jobs.plan import Plan
from app.jobs.transforms import Parameters, Transform, parameters_of
from models.latents import normal, uniforms
from tests.builders import image, plan_of, planned

SHARD = 3
READ: TypeAdapter[Transform] = TypeAdapter(Transform)
EACH: list[dict[str, Any]] = [
    {"type": "rotate", "degrees": 25},
    {"type": "crop_resize", "scale": [0.4, 0.9]},
    {"type": "scale", "factor": [0.7, 1.4]},
    {"type": "translate", "fraction": 0.4},
    {"type": "flip"},
    {"type": "flip", "axis": "vertical", "probability": 0.7},
    {"type": "colour_jitter", "brightness": 0.4, "contrast": 0.5},
    {"type": "noise", "sd": [0.05, 0.2]},
    {"type": "blur", "sigma": [0.4, 2]},
]
IN_COLOUR = {"type": "colour_jitter", "saturation": 0.6, "hue": 0.3}


def plan(*transforms: dict[str, Any], channels: int = 1, side: tuple[int, int] = (13, 11)) -> Plan:
    made = plan_of([48], 4, image=image(*side, channels))
    return replace(made, transforms=tuple(READ.validate_python(each) for each in transforms))


def pictures(plan: Plan, count: int = 12) -> NDArray[np.uint8]:
    shape = (count, plan.image.height, plan.image.width, plan.image.channels)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def changed(plan: Plan, images: NDArray[np.uint8], first: int = 0) -> NDArray[np.uint8]:
    candidates = np.arange(first, first + len(images))
    return Changer(plan, SHARD).change(0, candidates, np.ones_like(candidates), images)


def recorded(plan: Plan, candidate: int) -> list[Parameters]:
    return parameters_of(
        plan.transforms, plan.image, seed=plan.seed, model=plan.models[0].sha256, shard=SHARD,
        candidate=candidate,
    )  # fmt: skip


def by_hand(pixels: NDArray[np.uint8], own: Parameters) -> NDArray[np.uint8]:
    """What torchvision makes of an image with these parameters; alpha is not a colour."""
    picture: Any = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    bilinear = InterpolationMode.BILINEAR
    p: Any = own
    match p["type"]:
        case "rotate":
            picture = F.rotate(picture, p["angle"], interpolation=bilinear)
        case "crop_resize":
            box = [p["top"], p["left"], p["height"], p["width"]]
            picture = F.resize(F.crop(picture, *box), list(pixels.shape[:2]), antialias=True)
        case "scale":
            picture = F.affine(picture, 0, [0, 0], p["factor"], [0, 0], interpolation=bilinear)
        case "translate":
            picture = F.affine(picture, 0, [p["right"], p["down"]], 1.0, [0, 0])
        case "flip" if p["flipped"]:
            picture = (F.hflip if p["axis"] == "horizontal" else F.vflip)(picture)
        case "blur":
            picture = F.gaussian_blur(picture, [p["kernel"]] * 2, [p["sigma"]] * 2)
        case "colour_jitter":
            colours = F.adjust_contrast(
                F.adjust_brightness(picture[:3], p["brightness"]), p["contrast"]
            )
            if len(colours) == 3:
                colours = F.adjust_hue(F.adjust_saturation(colours, p["saturation"]), p["hue"])
            picture = torch.cat([colours, picture[3:]])
    return picture.numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("transform", [*EACH, IN_COLOUR], ids=lambda each: each["type"])
def test_by_the_recorded_parameters(transform: dict[str, Any], channels: int) -> None:
    if transform is IN_COLOUR and channels == 1:
        return
    made = plan(transform, channels=channels)
    images = pictures(made)
    result = changed(made, images)
    assert result.dtype == np.uint8
    assert result.shape == images.shape
    assert (result != images).any()
    if transform["type"] == "noise":
        return
    for candidate, (before, after) in enumerate(zip(images, result, strict=True)):
        [own] = recorded(made, candidate)
        rounding = 1 if own["type"] == "blur" else 0
        difference = np.abs(after.astype(int) - by_hand(before, own))
        assert difference.max() <= rounding
        assert difference.mean() < 0.01


def test_noise_is_as_strong_as_recorded() -> None:
    made = plan({"type": "noise", "sd": [0.02, 0.1]}, channels=4, side=(64, 64))
    grey = np.full((6, 64, 64, 4), 128, np.uint8)
    for candidate, after in enumerate(changed(made, grey)):
        [own] = recorded(made, candidate)
        difference = after[..., :3].astype(float) - 128
        assert difference.std() == pytest.approx(255 * float(own["sd"]), rel=0.03)
        assert abs(difference.mean()) < 1
        assert (after[..., 3] == 128).all()


def test_known_answers() -> None:
    images = pictures(plan(side=(9, 9)), 4)
    for degrees, turns in ((90, 1), (180, 2), (-90, 3)):
        made = plan({"type": "rotate", "degrees": [degrees, degrees]}, side=(9, 9))
        np.testing.assert_array_equal(changed(made, images), np.rot90(images, turns, axes=(1, 2)))
    made = plan({"type": "flip", "probability": 1}, side=(9, 9))
    np.testing.assert_array_equal(changed(made, images), images[:, :, ::-1])
    made = plan({"type": "flip", "axis": "vertical", "probability": 1}, side=(9, 9))
    np.testing.assert_array_equal(changed(made, images), images[:, ::-1])
    for nothing in (
        {"type": "flip", "probability": 0},
        {"type": "rotate", "degrees": 0},
        {"type": "translate", "fraction": 0},
        {"type": "scale", "factor": [1, 1]},
        {"type": "colour_jitter"},
        {"type": "noise", "sd": [0, 0]},
        {"type": "crop_resize", "scale": [1, 1], "ratio": [1, 1]},
    ):
        np.testing.assert_array_equal(changed(plan(nothing, side=(9, 9)), images), images)


def test_a_translation_moves_by_whole_pixels() -> None:
    made = plan({"type": "translate", "fraction": 0.3}, side=(12, 10))
    images = pictures(made)
    for candidate, (before, after) in enumerate(zip(images, changed(made, images), strict=True)):
        [own] = recorded(made, candidate)
        right, down = int(own["right"]), int(own["down"])
        assert (abs(right), abs(down)) <= (3, 4)
        expected = np.zeros_like(before)
        height, width = before.shape[:2]
        to = np.s_[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
        of = np.s_[max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)]
        expected[to] = before[of]
        np.testing.assert_array_equal(after, expected)


def test_batches_make_no_difference() -> None:
    made = plan(*EACH)
    images = pictures(made, 12)
    whole = changed(made, images)
    parts = [changed(made, images[at : at + size], at) for at, size in ((0, 1), (1, 6), (7, 5))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    chosen = np.array([2, 5, 11])
    again = Changer(made, SHARD).change(0, chosen, np.ones_like(chosen), images[chosen])
    np.testing.assert_array_equal(again, whole[chosen])


def test_each_sample_and_each_place_has_a_stream_of_its_own() -> None:
    twice = plan({"type": "rotate", "degrees": 10}, {"type": "rotate", "degrees": 10})
    angles = [own["angle"] for candidate in range(200) for own in recorded(twice, candidate)]
    assert len(set(angles)) == len(angles)
    assert max(map(abs, map(float, angles))) <= 10
    assert abs(np.mean(np.array(angles, float))) < 1.5
    key: dict[str, Any] = {"seed": 7, "model": "ab" * 32, "shard": 0, "first": 0, "count": 5}
    before = normal(**key, size=8)
    assert not np.array_equal(
        uniforms(**key, size=4, purpose=256), uniforms(**key, size=4, purpose=257)
    )
    np.testing.assert_array_equal(normal(**key, size=8), before)


def test_the_pixel_hash_is_of_the_result() -> None:
    made = plan(*EACH)
    images = pictures(made)
    positions = np.array([0, -1, *range(1, 11)])
    change, shard = Changer(made, SHARD).change, made.shard(SHARD)
    found = encoded(shard, Candidates(0, 0, positions), images, encoder_of(PNG), None, change)
    kept = changed(made, images)[positions >= 0]
    hashes = [hashlib.sha256(each.tobytes()).digest() for each in kept]
    assert found.pixel_sha256.tolist() == hashes
    assert found.candidates.tolist() == [0, *range(2, 12)]


def test_a_plan_keeps_them_and_one_without_is_what_it_was() -> None:
    with_them = planned({"model": "maker", "samples_per_class": 3, "transforms": EACH})
    assert Plan.from_json(with_them.to_json()) == with_them
    assert "transforms" not in planned({"model": "maker", "samples_per_class": 3}).to_json()


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        ({"type": "blur", "sigma": [2, 1]}, r'"sigma" of "blur" is \[low, high\]'),
        (IN_COLOUR, "neither saturation nor hue"),
    ],
)
def test_what_can_not_be_done_is_refused(transform: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        planned({"model": "maker", "samples_per_class": 3, "transforms": [transform]})
