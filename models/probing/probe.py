"""Draw from a generator before it is registered, and measure what comes."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import OutputShapeError
from models.generator import Generator, as_tensor, to_levels
from models.latents import normal
from models.probing.report import ProbeReport
from models.probing.verdict import judged
from models.spec import ModelSpec

PER_CLASS = 16
MOST_CLASSES = 64
"""Of more classes, this many are drawn from, spread evenly; all labels are tried once."""
BATCH = 64
TIMED = 5
SEED = 20_261_124
MARGIN = 0.05
LABEL_LATENTS = 16


class Probed(NamedTuple):
    """The report, and images to look at: uint8 [classes, PER_CLASS, H, W, C] with their names."""

    report: ProbeReport
    images: NDArray[np.uint8]
    names: tuple[str, ...]


class _Values(NamedTuple):
    """Floats as the generator gave them, and the pixels they become."""

    raw: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    finite: NDArray[np.bool_]


def probe(generator: Generator, spec: ModelSpec) -> Probed:
    """Draw 16 images of each class (of 64 classes at most), and measure them.

    The same generator gives the same report, but for its milliseconds. Raises ModelError where
    it can't be run at all or gives another shape or number of images than it should.
    """
    labels = _shown(len(spec.class_names))
    z = _latents(spec, len(labels) * PER_CLASS)  # class after class
    repeated = np.repeat(labels, PER_CLASS)
    drawn = _draw(generator, z, repeated if spec.conditional else None)
    by_class = drawn.pixels.reshape(len(labels), PER_CLASS, *drawn.pixels.shape[1:])
    within = np.array([_distance(images[::2], images[1::2]) for images in by_class])
    least = int(within.argmin())
    low, high = spec.value_range
    beyond = MARGIN * (high - low)
    finite_values = drawn.raw[np.isfinite(drawn.raw)]
    single_ms, batch_ms = _milliseconds(generator, spec)
    names = tuple(spec.class_names[label] for label in labels)
    report = ProbeReport(
        images=len(z),
        lowest=float(finite_values.min(initial=0.0)),
        highest=float(finite_values.max(initial=0.0)),
        outside=float(np.mean((drawn.raw < low - beyond) | (drawn.raw > high + beyond))),
        contrast=float(drawn.pixels.std()),
        smoothness=_smoothness(drawn.pixels),
        diversity=float(within.mean()),
        least_diversity=float(within[least]),
        least_diverse=names[least],
        label_effect=_label_effect(generator, spec) if len(spec.classes) > 1 else None,
        alone=_alone(generator, drawn.pixels, z, repeated if spec.conditional else None),
        batch=BATCH,
        single_ms=single_ms,
        batch_ms=batch_ms,
        resident_bytes=generator.resident_bytes,
        device=generator.device.type,
    )
    broken = {names[k // PER_CLASS] for k in np.flatnonzero(~drawn.finite)}
    findings = judged(report, spec, sorted(broken))
    return Probed(report.model_copy(update={"findings": findings}), by_class, names)


def _shown(classes: int) -> NDArray[np.int64]:
    count = min(classes, MOST_CLASSES)
    return np.linspace(0, classes - 1, count).round().astype(np.int64)


def _latents(spec: ModelSpec, count: int) -> NDArray[np.float32]:
    return normal(
        seed=SEED, model=spec.weights.sha256, shard=0, first=0, count=count, size=spec.latent_size
    )


def _draw(
    generator: Generator, z: NDArray[np.float32], labels: NDArray[np.int64] | None
) -> _Values:
    parts = [
        _forward(generator, z[at : at + BATCH], None if labels is None else labels[at : at + BATCH])
        for at in range(0, len(z), BATCH)
    ]
    return _Values(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


@torch.inference_mode()
def _forward(
    generator: Generator, z: NDArray[np.float32], labels: NDArray[np.int64] | None
) -> _Values:
    device = generator.device
    on_device = None if labels is None else as_tensor(labels).to(device)
    images: Tensor = generator.eval()(as_tensor(z).to(device), on_device)
    image = generator.image
    wanted = (len(z), image.channels, image.height, image.width)
    if tuple(images.shape) != wanted:
        raise OutputShapeError(
            f"the generator gave {list(images.shape)} where {list(wanted)} was asked for"
        )
    made = to_levels(images, generator.value_range)
    raw = images.to(torch.float32).cpu().numpy()
    return _Values(raw, made.pixels.cpu().numpy(), made.finite.cpu().numpy())


def _distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def _smoothness(pixels: NDArray[np.uint8]) -> float:
    """Correlation over all neighbouring pixels; 0 where nothing varies, 1 for single pixels."""
    values = pixels.astype(np.float64) - pixels.mean()
    right = (values[:, :, 1:], values[:, :, :-1])
    below = (values[:, 1:], values[:, :-1])
    pairs = [pair for pair in (right, below) if pair[0].size]
    if not pairs:
        return 1.0
    products = sum(float((one * other).sum()) for one, other in pairs)
    squares = sum(float((one * one).sum() + (other * other).sum()) / 2 for one, other in pairs)
    return products / squares if squares else 0.0


def _label_effect(generator: Generator, spec: ModelSpec) -> float:
    """Distance of images that differ in their label only; each label is tried once."""
    labels = np.arange(len(spec.classes), dtype=np.int64)
    z = np.tile(_latents(spec, 1), (len(labels), 1))
    pixels = _draw(generator, z, labels).pixels
    return _distance(pixels, np.roll(pixels, 1, axis=0))


def _alone(
    generator: Generator,
    pixels: NDArray[np.uint8],
    z: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
) -> int:
    largest = 0
    for k in range(0, len(z), max(1, len(z) // 4)):
        own = None if labels is None else labels[k : k + 1]
        single = _forward(generator, z[k : k + 1], own).pixels[0]
        largest = max(largest, int(np.abs(single.astype(int) - pixels[k].astype(int)).max()))
    return largest


def _milliseconds(generator: Generator, spec: ModelSpec) -> tuple[float, float]:
    """Fastest forward pass of one image and of a batch."""
    labels = np.zeros(BATCH, np.int64) if spec.conditional else None
    z = _latents(spec, BATCH)
    found: list[float] = []
    for count in (1, BATCH):
        own = None if labels is None else labels[:count]
        took: list[float] = []
        for _ in range(TIMED):
            began = time.perf_counter()
            _forward(generator, z[:count], own)
            took.append(time.perf_counter() - began)
        found.append(round(1_000 * min(took), 3))
    return found[0], found[1]
