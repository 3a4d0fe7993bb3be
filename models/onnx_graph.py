"""What was learnt of an ONNX file, as plain data. Imports no torch, no onnx."""

from __future__ import annotations

from math import prod
from typing import Final

from models.errors import CheckpointError
from models.spec import Frozen

EXPORT: Final = "torch.onnx.export(generator, …, external_data=False)"
FLOATS: Final = ("float32", "float16", "float64")
WHOLE: Final = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")


class Port(Frozen):
    """An input or output of a graph. dtype as numpy names it; None where a side is any size."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """The shape without the batch's axis."""
        return self.shape[1:]

    @property
    def image_size(self) -> int | None:
        """Elements for one image; None where the graph leaves a side open."""
        sides = [side for side in self.image_shape if side is not None]
        return prod(sides) if len(sides) == len(self.shape) - 1 else None

    @property
    def is_float(self) -> bool:
        """Whether it holds floating numbers."""
        return self.dtype in FLOATS

    def __str__(self) -> str:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{self.name!r} ({self.dtype} [{sides}])"


class GraphFacts(Frozen):
    """What was read from an ONNX file that passed every check.

    table_rows: rows of the tables that an input of whole numbers indexes, by the input's name:
        the number of classes, where the label is embedded.
    parameter_bytes: bytes of all constant tensors.
    peak_elements: elements of the largest tensor of one image, as far as the graph tells.
    last_operators: what computes each output, by its name: Tanh spans (-1, 1), Sigmoid (0, 1).
    """

    opset: int
    producer: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: dict[str, int]
    parameter_bytes: int
    peak_elements: int
    table_rows: dict[str, int] = {}
    last_operators: dict[str, str] = {}


class OnnxTrial(Frozen):
    """What the first runs showed.

    batch: what `options.batch` has to be; None when any number of images may be asked for.
    seconds: of one run; images: how many it gave.
    non_finite: images of the tried ones with a value that is no finite number.
    """

    batch: int | None
    seconds: float
    images: int
    non_finite: int


def listed(ports: tuple[Port, ...]) -> str:
    """The ports in one line, for a sentence."""
    shown = ", ".join(str(port) for port in ports[:6])
    return shown + (f" and {len(ports) - 6} more" if len(ports) > 6 else "")


def refusal(reason: str) -> CheckpointError:
    """The error for a file that is refused because of `reason`."""
    return CheckpointError(f"this ONNX file can't be used: {reason}. To export one: {EXPORT}")
