"""What is held to `limits` while a network is walked. Imports no torch."""

from __future__ import annotations

from math import prod

from models.declared import limits
from models.declared.nodes import Trace
from models.declared.shapes import Effect, Shape
from models.errors import SpecError


def check_cost(path: str, found: Effect, so_far: Trace) -> None:
    """One layer's output and work, and the work of all layers up to it."""
    check_sides(path, found.shape)
    if found.unfolded > limits.UNFOLDED:
        raise SpecError(
            f"declared network: {path}: it unfolds {found.unfolded} numbers for one image, "
            f"of at most {limits.UNFOLDED}"
        )
    if so_far.operations > limits.OPERATIONS:
        raise SpecError(
            f"declared network: {path}: with it one image takes {so_far.operations} "
            f"multiplications, of at most {limits.OPERATIONS}"
        )


def check_counts(path: str, so_far: Trace) -> None:
    """Layers and weights up to here."""
    if so_far.layer_count > limits.LAYERS:
        raise SpecError(f"declared network: {path}: more than {limits.LAYERS} layers")
    if so_far.parameters > limits.PARAMETERS:
        raise SpecError(
            f"declared network: {path}: with it there are {so_far.parameters} weights, "
            f"of at most {limits.PARAMETERS}"
        )


def check_sides(path: str, shape: Shape) -> None:
    """What passes from one layer to the next, for one image."""
    most = (limits.SIZE, limits.SIDE, limits.SIDE) if len(shape) == 3 else (limits.ACTIVATIONS,) * 3
    for side, limit in zip(shape, most, strict=False):
        if side > limit:
            raise SpecError(f"declared network: {path}: it gives {list(shape)}; {side} > {limit}")
    if prod(shape) > limits.ACTIVATIONS:
        raise SpecError(
            f"declared network: {path}: it gives {list(shape)}, {prod(shape)} numbers for one "
            f"image, of at most {limits.ACTIVATIONS}"
        )


def check_depth(path: str, depth: int) -> None:
    """How many residuals, branches and joins a layer lies in."""
    if depth > limits.NESTING:
        raise SpecError(f"declared network: {path}: nested deeper than {limits.NESTING}")


def check_together(path: str, shapes: list[Shape]) -> None:
    """Ways that are merged are bounded as one layer's output is: all are held at once."""
    total = sum(map(prod, shapes))
    if total > limits.ACTIVATIONS:
        raise SpecError(
            f"declared network: {path}: its ways give {total} numbers for one image, of at most "
            f"{limits.ACTIVATIONS}"
        )
