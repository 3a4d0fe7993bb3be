"""`--transform`: what happens to images after they are drawn, as words of the command line."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from app.client_types import JobRequest

TransformOption = Annotated[
    list[str] | None,
    typer.Option(
        "--transform",
        metavar="NAME[=VALUE]",
        help="Change each image after it is drawn: rotate=10, flip, scale=0.9..1.1, "
        "colour-jitter:brightness=0.2,contrast=0.2; in this order, once for each.",
    ),
]

VariantsOption = Annotated[
    int,
    typer.Option(
        "--variants",
        min=1,
        metavar="K",
        help="With --transform: K differently changed images of each drawn one; N stays N.",
    ),
]

_MAIN = {
    "rotate": "degrees", "crop_resize": "scale", "scale": "factor", "translate": "fraction",
    "flip": "axis", "noise": "sd", "blur": "sigma", "colour_jitter": "brightness",
}  # fmt: skip
"""What the value of `NAME=VALUE` is."""
_RANGES = {"scale", "ratio", "factor", "sd", "sigma"}
"""Options that are always two numbers: one stands for both."""
_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"


def add_transforms(request: JobRequest, texts: list[str] | None, variants: int = 1) -> None:
    """Ask for them."""
    if texts:
        request["transforms"] = [transform_of(text) for text in texts]
    if variants == 1:
        return
    if not texts:
        raise typer.BadParameter(
            "Variants are made by transforms: give --transform too.", param_hint="--variants"
        )
    request["variants"] = variants


def transform_of(text: str) -> dict[str, Any]:
    """`rotate=10` or `flip:axis=vertical,probability=1` as a request writes it."""
    found = re.fullmatch(r"([a-z_-]+)(?:=([^=:,]+)|:(.+))?", text)
    name = found.group(1).replace("-", "_") if found else ""
    if found is None or name not in _MAIN:
        known = ", ".join(each.replace("_", "-") for each in _MAIN)
        raise typer.BadParameter(
            f"{text!r} is not like rotate=10; known are {known}.", param_hint="--transform"
        )
    transform: dict[str, Any] = {"type": name}
    if found.group(2) is not None:
        transform[_MAIN[name]] = _value(_MAIN[name], found.group(2), text)
    for part in found.group(3).split(",") if found.group(3) else ():
        option, is_given, value = part.partition("=")
        if not is_given or option in transform:
            raise typer.BadParameter(
                f"{text!r} is not like flip:axis=vertical,probability=1.", param_hint="--transform"
            )
        transform[option] = _value(option, value, text)
    return transform


def _value(option: str, text: str, whole: str) -> float | str | list[float]:
    """A number, `LOW..HIGH`, or a word."""
    if option == "axis":
        return text
    ends = re.fullmatch(rf"({_NUMBER})(?:\.\.({_NUMBER}))?", text)
    if ends is None:
        raise typer.BadParameter(
            f"{whole!r}: {text!r} is neither a number nor LOW..HIGH.", param_hint="--transform"
        )
    low, high = ends.groups()
    if high is None and option not in _RANGES:
        return float(low)
    return [float(low), float(high or low)]
