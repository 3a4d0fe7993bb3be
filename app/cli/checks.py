"""`--check`, `--copies`: what a candidate is refused for, as words of a command."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.client_types import JobRequest

EXAMPLES = "brightness=0.1..0.9, contrast=0.05.., label_agreement=0.8, near_duplicates"

CheckOption = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="CHECK",
        help=f"Refuse candidates and draw others; give it once a check: {EXAMPLES}.",
    ),
]
CopiesOption = Annotated[
    str | None,
    typer.Option(
        "--copies",
        metavar="DATASET",
        help="Refuse copies of its training images: a dataset that was uploaded, or a path.",
    ),
]
PercentileOption = Annotated[
    float | None,
    typer.Option(
        "--copies-percentile",
        metavar="P",
        help="As near as P % of its unseen images come is a copy (1).",
    ),
]


def add_checks(
    request: JobRequest,
    texts: list[str] | None,
    copies: str | None = None,
    percentile: float | None = None,
) -> None:
    """The checks as a request writes them."""
    found: dict[str, Any] = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        if name in found:
            raise _bad(f"{name!r} is given twice.")
        found[name] = _check(name, value, text)
    if copies is not None:
        found["copies"] = {"dataset": copies}
        found["copies"] |= {} if percentile is None else {"percentile": percentile}
    elif percentile is not None:
        raise typer.BadParameter("Give --copies DATASET too.", param_hint="--copies-percentile")
    if found:
        request["checks"] = found


def _check(name: str, value: str, text: str) -> Any:
    match name:
        case "brightness" | "contrast":
            return _bounds(value, text)
        case "near_duplicates":
            return {"distance": _whole(value, text)} if value else True
        case "label_agreement":
            return _agreement(value, text)
        case _:
            raise _bad(f"{text!r} is no check. Checks are {EXAMPLES}.")


def _bounds(value: str, text: str) -> dict[str, float]:
    """`0.1..0.9`, `0.1..` or `..0.9`."""
    least, dots, most = value.partition("..")
    ends = {"min": least, "max": most}
    found = {name: _number(end, text) for name, end in ends.items() if end}
    if not dots or not found:
        raise _bad(f"{text!r} is not like brightness=0.1..0.9.")
    return found


def _agreement(value: str, text: str) -> dict[str, Any]:
    """`0.8`, `fashion-classifier`, `fashion-classifier:0.8`, or nothing."""
    classifier, colon, confidence = value.rpartition(":")
    if not colon:
        try:
            return {"min_confidence": float(value)} if value else {}
        except ValueError:
            return {"classifier": value}
    return {"classifier": classifier, "min_confidence": _number(confidence, text)}


def _whole(value: str, text: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 4):
        raise _bad(f"{text!r} is not like near_duplicates or near_duplicates=2.")
    return int(value)


def _number(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise _bad(f"{value!r} in {text!r} is no number.") from None


def _bad(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--check")
