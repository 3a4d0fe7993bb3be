"""`--transform` as words, and the request that they stand for."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from app.cli.transforms import transform_of
from tests.builders import planned


@pytest.mark.parametrize(
    ("text", "transform"),
    [
        ("rotate=10", {"type": "rotate", "degrees": 10.0}),
        ("rotate=-5..20.5", {"type": "rotate", "degrees": [-5.0, 20.5]}),
        ("flip", {"type": "flip"}),
        ("flip=vertical", {"type": "flip", "axis": "vertical"}),
        (
            "flip:axis=vertical,probability=1",
            {"type": "flip", "axis": "vertical", "probability": 1.0},
        ),
        ("noise=0.05", {"type": "noise", "sd": [0.05, 0.05]}),
        ("noise=0..0.05", {"type": "noise", "sd": [0.0, 0.05]}),
        ("crop-resize=0.6..1", {"type": "crop_resize", "scale": [0.6, 1.0]}),
        ("scale=0.9..1.1", {"type": "scale", "factor": [0.9, 1.1]}),
        ("translate=0.1", {"type": "translate", "fraction": 0.1}),
        ("blur=0.1..2", {"type": "blur", "sigma": [0.1, 2.0]}),
        (
            "colour-jitter:brightness=0.2,contrast=0.3",
            {"type": "colour_jitter", "brightness": 0.2, "contrast": 0.3},
        ),
    ],
)
def test_words(text: str, transform: dict[str, Any]) -> None:
    assert transform_of(text) == transform
    planned({"model": "maker", "samples_per_class": 1, "transforms": [transform]})


@pytest.mark.parametrize(
    "text", ["", "spin=3", "rotate=", "rotate=x", "rotate=1..", "flip:axis", "flip:axis=v,axis=h"]
)
def test_what_is_no_transform(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        transform_of(text)
