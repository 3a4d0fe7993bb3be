"""An ONNX graph as a function of latents and labels, in NumPy alone. Imports no torch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from models.declared.problems import explain
from models.errors import InputError, OutputShapeError, SpecError
from models.latents import normal
from models.onnx_binding import bind
from models.onnx_graph import Port
from models.onnx_inspection import inspect
from models.onnx_options import FixedInput, OnnxOptions
from models.onnx_session import Session
from models.spec import ModelSpec

NOISE_KEY: Final = "00" * 32
"""Stands for a model's digest in the stream of seeded inputs, which belongs to their seed."""

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class Runner:
    """Latents and labels to a session's inputs, its output to images.

    batch: images of every run of the graph; None when any number.
    parameter_bytes: of the graph's constants, which the session keeps in memory.
    """

    def __init__(
        self, spec: ModelSpec, content: bytes, threads: int, cuda_device: int | None = None
    ) -> None:
        """Inspect and load an ONNX file's bytes.

        Raises CheckpointError for the file and SpecError for a spec that does not fit it.
        """
        try:
            OnnxOptions.model_validate(spec.options)
        except ValidationError as error:
            raise SpecError(f"onnx: option {explain(error)}") from error
        facts = inspect(content)
        self._binding = bind(facts, spec)
        self._session = Session(content, threads, cuda_device)
        self._fixed = {port.name: _fixed_array(port, value) for port, value in self._binding.fixed}
        self.image = spec.image
        self.class_count = len(spec.classes)
        self.batch = self._binding.batch
        self.parameter_bytes = facts.parameter_bytes
        self.providers = self._session.providers

    def images(self, z: Floats, labels: Labels | None) -> Floats:
        """float32 [N, latent_size], int64 [N] or None -> float32 [N, C, H, W].

        A graph that takes one number of images is run piece by piece, the last one filled up.
        Raises InputError for a label out of range, which graphs themselves may accept, and
        OutputShapeError when the graph gives another number of images than a run asks for.
        """
        if labels is not None and not ((labels >= 0) & (labels < self.class_count)).all():
            raise InputError(f"labels must lie in 0..{self.class_count - 1}")
        size = self.batch or len(z)
        image = self.image
        images = np.empty((len(z), image.channels, image.height, image.width), np.float32)
        for at in range(0, len(z), size or 1):
            piece = slice(at, at + size)
            images[piece] = self._piece(z[piece], None if labels is None else labels[piece], size)
        return images

    def _piece(self, z: Floats, labels: Labels | None, size: int) -> Floats:
        rows = np.minimum(np.arange(size), len(z) - 1)  # the last image again fills a piece up
        inputs = self._inputs(z[rows], None if labels is None else labels[rows])
        output = self._session.run(self._binding.output.name, inputs)
        return self._images(output, size)[: len(z)]

    def _inputs(self, z: Floats, labels: Labels | None) -> dict[str, npt.NDArray[Any]]:
        inputs: dict[str, npt.NDArray[Any]] = {}
        start = 0
        for port in self._binding.latents:
            stop = start + (port.image_size or 0)
            inputs[port.name] = _filled(port, z[:, start:stop])
            start = stop
        if self._binding.label is not None and labels is not None:
            inputs[self._binding.label.name] = self._label(self._binding.label, labels)
        for port, _ in self._binding.fixed:
            inputs[port.name] = _repeated(port, self._fixed[port.name], len(z))
        return inputs

    def _label(self, port: Port, labels: Labels) -> npt.NDArray[Any]:
        match self._binding.form:
            case "index":
                return labels.astype(port.dtype).reshape(len(labels) if port.shape else ())
            case "column":
                return labels.astype(port.dtype)[:, None]
        return np.eye(self.class_count, dtype=port.dtype)[labels]

    def _images(self, output: npt.NDArray[Any], size: int) -> Floats:
        """Any layout and number type -> float32 [size, C, H, W]."""
        image, layout = self.image, self._binding.layout
        if output.shape[:1] != (size,):
            raise OutputShapeError(
                f"asked for {size} images, the graph gave {list(output.shape)}; "
                "if it makes a fixed number a run, state that as options.batch"
            )
        channels_last = layout in ("hwc", "flat_hwc")
        sides: tuple[int, ...] = (image.height, image.width)
        sides = (*sides, image.channels) if channels_last else (image.channels, *sides)
        if output.size != size * image.bytes:
            raise OutputShapeError(
                f"the graph gave {list(output.shape)} for {size} images of {list(sides)}"
            )
        images = output.reshape(size, *sides).astype(np.float32)
        return images.transpose(0, 3, 1, 2) if channels_last else images


def _filled(port: Port, values: Floats) -> npt.NDArray[Any]:
    """float [N, size] -> the port's type and shape [N, ...]."""
    sides = [side or 1 for side in port.shape[1:]]
    return values.astype(port.dtype).reshape(len(values), *sides) if port.shape else values


def _fixed_array(port: Port, fixed: FixedInput) -> npt.NDArray[Any]:
    """The port's whole value, or that of one image where its batch is open."""
    sides = tuple(side or 1 for side in port.shape)
    count = int(np.prod(sides))
    if fixed.seed is not None:
        values = normal(seed=fixed.seed, model=NOISE_KEY, shard=0, first=0, count=1, size=count)
    else:
        values = np.resize(np.asarray(fixed.value, np.float64), count)
    return values.astype(port.dtype).reshape(sides)


def _repeated(port: Port, value: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    return np.repeat(value, count, axis=0) if port.shape[:1] == (None,) else value
