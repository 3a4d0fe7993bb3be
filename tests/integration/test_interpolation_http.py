"""Strips and grids between seeds, on a real server: PNGs whose ends are samples of jobs."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

PATH = "/v1/samples/interpolation"
BODY: dict[str, Any] = {"model": "fashion-cgan", "seeds": [7, 8], "classes": ["bag"], "steps": 6}
SIDE = 56  # 28 pixels, shown at twice the size


def picture(http: httpx.Client, body: dict[str, Any]) -> NDArray[np.uint8]:
    answer = http.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image.convert("L"))


def sample(http: httpx.Client, seed: int, **more: Any) -> NDArray[np.uint8]:
    """The first sample of that seed, as the picture shows it."""
    body = {"model": "fashion-cgan", "samples_per_class": {"bag": 1}, "seed": seed} | more
    answer = http.post("/v1/samples", json=body, headers={"Accept": "application/x-npz"})
    with np.load(io.BytesIO(answer.content)) as arrays:
        return np.asarray(arrays["images"][0, :, :, 0].repeat(2, axis=0).repeat(2, axis=1))


def holds(sheet: NDArray[np.uint8], image: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Where in the picture an image is, give or take one level of rounding."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, image.shape)
    near = np.abs(windows[:, :, ::9, ::9].astype(np.int16) - image[::9, ::9]).max(axis=(2, 3)) <= 1
    return [(int(row), int(column)) for row, column in np.argwhere(near)]


def test_a_strip_leads_from_one_sample_to_the_other(http: httpx.Client) -> None:
    sheet = picture(http, BODY)
    [(row, left)], [(same_row, right)] = (holds(sheet, sample(http, seed)) for seed in (7, 8))
    assert row == same_row
    assert (right - left) % 5 == 0
    pitch = (right - left) // 5
    assert SIDE < pitch < SIDE + 10
    images = [sheet[row : row + SIDE, left + k * pitch :][:, :SIDE].astype(int) for k in range(6)]
    steps = [np.abs(a - b).mean() for a, b in pairwise(images)]
    assert max(steps) < np.abs(images[0] - images[-1]).mean()


def test_truncation_acts_on_the_way(http: httpx.Client) -> None:
    sampling = {"truncation": 0.4}
    sheet = picture(http, BODY | {"sampling": sampling})
    assert holds(sheet, sample(http, 7, sampling=sampling))
    assert not holds(sheet, sample(http, 7))


def test_a_grid_and_every_class(http: httpx.Client) -> None:
    grid = picture(http, BODY | {"seeds": [1, 2, 3, 4], "rows": 4})
    assert len({holds(grid, sample(http, seed))[0] for seed in (1, 2, 3, 4)}) == 4
    every = picture(http, {"model": "fashion-cgan", "seeds": [1, 2, 3], "steps": 3})
    assert every.shape[0] > 10 * SIDE
    unlabelled = picture(http, {"model": "fashion-gan", "seeds": [1, 2]})
    assert unlabelled.shape[0] < 3 * SIDE


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"seeds": [1]}, "validation"),
        ({"seeds": [1, -1]}, "validation"),
        ({"steps": 1}, "validation"),
        ({"rows": 3}, "validation"),
        ({"rows": 3, "seeds": [1, 2, 3, 4], "classes": None}, "validation"),
        ({"classes": ["hat"]}, "unknown-class"),
        ({"model": "nobody"}, "unknown-model"),
        ({"sampling": {"psi": 0.5}}, "validation"),
        ({"seeds": list(range(16)), "steps": 64}, "validation"),
    ],
)
def test_bad_input_is_refused(http: httpx.Client, change: dict[str, Any], slug: str) -> None:
    answer = http.post(PATH, json=BODY | change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == f"/problems/{slug}"
