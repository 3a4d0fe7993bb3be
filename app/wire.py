"""Latents to a worker and pixels back, as bytes: a JSON header and raw arrays, nothing to execute.

4 bytes   length of the header, big-endian
header    JSON
arrays    as the header says, C order, little-endian
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import MalformedRequestError
from models.verdicts import Verdicts

GENERATE_PATH = "/generate"
PROBE_PATH = "/probe"
LABEL_PATH = "/label"
TRANSFORM_PATH = "/transform"

_LENGTH = struct.Struct(">I")
_MOST_HEADER_BYTES = 1 << 20


class Draw(NamedTuple):
    """What a worker is asked for."""

    model: str
    """SHA-256 of a registered model."""
    z: NDArray[np.float32]
    """[n, latent_size]"""
    labels: NDArray[np.int64] | None
    """[n], or None for a model that takes none."""
    batch: int
    precision: str
    source: str
    """Whose turn among waiting requests this takes."""
    psi: float | None = None


class Drawn(NamedTuple):
    """What a worker answers."""

    pixels: NDArray[np.uint8]
    """[n, H, W, C]"""
    finite: NDArray[np.bool_]
    """[n]"""
    environment: dict[str, str] = {}
    """Of the devices that drew them."""


def pack_draw(draw: Draw) -> bytes:
    """The body of a request."""
    header = {
        "model": draw.model,
        "shape": list(draw.z.shape),
        "labels": draw.labels is not None,
        "batch": draw.batch,
        "precision": draw.precision,
        "source": draw.source,
        "psi": draw.psi,
    }
    arrays = [np.ascontiguousarray(draw.z, "<f4")]
    if draw.labels is not None:
        arrays.append(np.ascontiguousarray(draw.labels, "<i8"))
    return _pack(header, arrays)


def unpack_draw(body: bytes) -> Draw:
    """The request of a body. Raises MalformedRequestError."""
    header, rest = _unpack(body)
    count, size = _shape(header, 2)
    z = _array(rest, 0, np.dtype("<f4"), count * size).reshape(count, size)
    labels = None
    if header.get("labels"):
        labels = _array(rest, z.nbytes, np.dtype("<i8"), count).astype(np.int64)
    return Draw(
        str(header.get("model")),
        z.astype(np.float32),
        labels,
        int(header.get("batch", 0)),
        str(header.get("precision")),
        str(header.get("source")),
        None if header.get("psi") is None else float(header["psi"]),
    )


def pack_drawn(drawn: Drawn) -> bytes:
    """The body of an answer."""
    pixels, finite, environment = drawn
    header = {"shape": list(pixels.shape), "environment": environment}
    return _pack(header, [finite.astype(np.uint8), np.ascontiguousarray(pixels)])


def unpack_drawn(body: bytes) -> Drawn:
    """The answer of a body. Raises MalformedRequestError."""
    header, rest = _unpack(body)
    shape = _shape(header, 4)
    finite = _array(rest, 0, np.dtype(np.uint8), shape[0]).astype(np.bool_)
    pixels = _array(rest, shape[0], np.dtype(np.uint8), int(np.prod(shape))).reshape(shape)
    return Drawn(pixels, finite, dict(header.get("environment") or {}))


class Transforming(NamedTuple):
    """Drawn images that a worker is asked to transform as a job did."""

    model: str
    """SHA-256 of the one that drew them."""
    seed: int
    transforms: list[dict[str, Any]]
    """As a plan keeps them."""
    origins: NDArray[np.int64]
    """[n, 3]: shard, candidate and variant of each."""
    pixels: NDArray[np.uint8]
    """[n, H, W, C]"""


def pack_transforming(asked: Transforming) -> bytes:
    """The body of a request; the answer is that to a draw."""
    header = {
        "model": asked.model,
        "seed": asked.seed,
        "transforms": asked.transforms,
        "shape": list(asked.pixels.shape),
    }
    arrays = [np.ascontiguousarray(asked.origins, "<i8"), np.ascontiguousarray(asked.pixels)]
    return _pack(header, arrays)


def unpack_transforming(body: bytes) -> Transforming:
    """The request of a body. Raises MalformedRequestError."""
    header, rest = _unpack(body)
    shape = _shape(header, 4)
    origins = _array(rest, 0, np.dtype("<i8"), 3 * shape[0]).reshape(-1, 3)
    pixels = _array(rest, origins.nbytes, np.dtype(np.uint8), int(np.prod(shape))).reshape(shape)
    return Transforming(
        str(header.get("model")),
        int(header.get("seed", 0)),
        list(header.get("transforms") or []),
        origins.astype(np.int64),
        pixels,
    )


class Tried(NamedTuple):
    """What a worker says of a model that was tried."""

    report: dict[str, Any]
    """A `ProbeReport`, as JSON."""
    names: list[str]
    images: NDArray[np.uint8]
    """[classes, images, H, W, C]"""


def pack_tried(tried: Tried) -> bytes:
    """The body of an answer to a probe."""
    header = {"report": tried.report, "names": tried.names, "shape": list(tried.images.shape)}
    return _pack(header, [np.ascontiguousarray(tried.images)])


def unpack_tried(body: bytes) -> Tried:
    """The answer of a body. Raises MalformedRequestError."""
    header, rest = _unpack(body)
    shape = _shape(header, 5)
    images = _array(rest, 0, np.dtype(np.uint8), int(np.prod(shape))).reshape(shape)
    return Tried(dict(header["report"]), [str(name) for name in header["names"]], images)


def pack_images(classifier: str, pixels: NDArray[np.uint8]) -> bytes:
    """The body of a request for labels: uint8 [n, H, W, C], and the SHA-256 of who labels."""
    header = {"classifier": classifier, "shape": list(pixels.shape)}
    return _pack(header, [np.ascontiguousarray(pixels)])


def unpack_images(body: bytes) -> tuple[str, NDArray[np.uint8]]:
    """The request of a body. Raises MalformedRequestError."""
    header, rest = _unpack(body)
    shape = _shape(header, 4)
    pixels = _array(rest, 0, np.dtype(np.uint8), int(np.prod(shape))).reshape(shape)
    return str(header.get("classifier")), pixels


def pack_verdicts(verdicts: Verdicts) -> bytes:
    """The body of an answer with labels."""
    arrays = [
        np.ascontiguousarray(verdicts.labels, "<i8"),
        np.ascontiguousarray(verdicts.confidences, "<f4"),
    ]
    return _pack({"shape": [len(verdicts.labels)]}, arrays)


def unpack_verdicts(body: bytes) -> Verdicts:
    """The answer of a body. Raises MalformedRequestError."""
    header, rest = _unpack(body)
    [count] = _shape(header, 1)
    labels = _array(rest, 0, np.dtype("<i8"), count)
    confidences = _array(rest, labels.nbytes, np.dtype("<f4"), count)
    return Verdicts(labels.astype(np.int64), confidences.astype(np.float32))


def _pack(header: dict[str, Any], arrays: list[NDArray[Any]]) -> bytes:
    text = json.dumps(header).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *(array.tobytes() for array in arrays)])


def _unpack(body: bytes) -> tuple[dict[str, Any], memoryview]:
    try:
        [length] = _LENGTH.unpack_from(body)
        if length > _MOST_HEADER_BYTES:
            raise ValueError("header too long")
        header = json.loads(body[_LENGTH.size : _LENGTH.size + length])
    except (struct.error, ValueError) as error:
        raise MalformedRequestError("The message between API and worker is damaged.") from error
    return header, memoryview(body)[_LENGTH.size + length :]


def _shape(header: dict[str, Any], dimensions: int) -> tuple[int, ...]:
    shape = header.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) != dimensions
        or not all(isinstance(side, int) and side >= 0 for side in shape)
    ):
        raise MalformedRequestError("The message between API and worker has no valid shape.")
    return tuple(shape)


def _array(rest: memoryview, start: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    if start + count * dtype.itemsize > len(rest):
        raise MalformedRequestError("The message between API and worker is cut short.")
    return np.frombuffer(rest, dtype, count, start)
