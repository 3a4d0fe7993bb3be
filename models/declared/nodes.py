"""A declared network laid out: each layer with the shape it meets. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from models.declared.document import EmbeddingInput, Join, Latent, OneHot
from models.declared.labels import Digit
from models.declared.layers import AnyLayer
from models.declared.shapes import Shape


class Node(NamedTuple):
    """A layer at its place; `parts` are the ways inside of a residual or of parallel branches."""

    path: str
    layer: AnyLayer
    shape_in: Shape
    shape: Shape
    parts: tuple[tuple[Node, ...], ...] = ()


class InputNode(NamedTuple):
    """An input at its place. shape: behind its layers. digit: how it reads the label."""

    path: str
    input: Latent | OneHot | EmbeddingInput | Join
    shape: Shape
    layers: tuple[Node, ...]
    digit: Digit | None = None
    inputs: tuple[InputNode, ...] = ()


class Slot(NamedTuple):
    """A tensor that the network wants.

    integer: int64; else floating. transposed: its first axis is what comes in.
    """

    shape: Shape
    integer: bool = False
    transposed: bool = False


@dataclass
class Trace:
    """The network at a glance. tensors: canonical name -> what is wanted, inputs first."""

    inputs: tuple[InputNode, ...] = ()
    layers: tuple[Node, ...] = ()
    tensors: dict[str, Slot] = field(default_factory=dict)
    layer_count: int = 0
    parameters: int = 0
    operations: int = 0
