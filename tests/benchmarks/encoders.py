"""`python -m tests.benchmarks.encoders`: images a second of encoders that a user could choose.

Every round lets each encoder run in turn, so that what else the machine does hits all of them;
medians are shown, with the ratio to Pillow at level 1 in the same rounds. One thread is measured in
its processor time, several by the clock. What is lossless is decoded by Pillow and compared before
anything is measured.
"""

from __future__ import annotations

import argparse
import io
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.datasets import jpeg, png, webp

Pixels = NDArray[np.uint8]
Encode = Callable[[Pixels], list[bytes]]

SIZES = {
    "28 × 28 grey": (256, 28, 28, 1),
    "32 × 32 RGB": (256, 32, 32, 3),
    "64 × 64 RGB": (128, 64, 64, 3),
    "256 × 256 RGB": (16, 256, 256, 3),
}
"""Name → shape of a batch."""
THREADS = (1, 2)
REFERENCE = "Pillow, level 1"


@dataclass
class Contender:
    """An encoder, and what was measured of it: (size, threads) → images a second, a round each."""

    name: str
    make: Callable[[], Encode]
    lossless: bool = True
    encode: Encode | None = None
    rates: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    bytes: dict[str, float] = field(default_factory=dict)


def pillow() -> Encode:
    """Pillow's PNG at its fastest level."""
    return one_by_one(lambda image: saved(image, "PNG", compress_level=1))


def torchvision() -> Encode:
    """What `save_image` users come to when they care."""
    import torch
    from torchvision.io import encode_png

    torch.set_num_threads(1)

    def encode(image: Pixels) -> bytes:
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        return bytes(encode_png(tensor, compression_level=1).numpy())

    return one_by_one(encode)


def opencv(*options: int) -> Encode:
    """`imwrite` into memory; OpenCV's colours are the other way round."""
    import cv2

    cv2.setNumThreads(1)

    def encode(image: Pixels) -> bytes:
        reversed_colours = image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return bytes(cv2.imencode(".png", reversed_colours, list(options))[1])

    return one_by_one(encode)


def opencv_rle() -> Encode:
    """OpenCV at level 1 with zlib's run length strategy."""
    import cv2

    return opencv(
        cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE
    )


def imagecodecs_png() -> Encode:
    """libpng by imagecodecs."""
    from imagecodecs import png_encode

    return one_by_one(lambda image: bytes(png_encode(image, level=1)))


def imagecodecs_spng() -> Encode:
    """libspng by imagecodecs."""
    from imagecodecs import spng_encode

    return one_by_one(lambda image: bytes(spng_encode(image, level=1)))


def up_filter(compress: Callable[[bytes], bytes]) -> Encode:
    """Our way of filtering, and another compressor behind it."""

    def encode(pixels: Pixels) -> list[bytes]:
        count, height, width, channels = pixels.shape
        kind = {1: 0, 3: 2, 4: 6}[channels]
        head = png.SIGNATURE + _chunk(
            b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
        )
        rows = pixels.reshape(count, height, width * channels)
        filtered = np.empty((count, height, 1 + width * channels), np.uint8)
        filtered[:, :, 0] = 2
        filtered[:, 0, 1:] = rows[:, 0]
        np.subtract(rows[:, 1:], rows[:, :-1], out=filtered[:, 1:, 1:])
        end = _chunk(b"IEND")
        return [head + _chunk(b"IDAT" + compress(image)) + end for image in filtered]

    return encode


def isal() -> Encode:
    """Intel's ISA-L, whose bytes differ between processors."""
    from isal import isal_zlib

    return up_filter(lambda image: isal_zlib.compress(image, 1))


CONTENDERS = (
    (REFERENCE, pillow, True),
    ("torchvision, level 1", torchvision, True),
    ("OpenCV", opencv, True),
    ("OpenCV, level 1, run lengths", opencv_rle, True),
    ("imagecodecs png, level 1", imagecodecs_png, True),
    ("imagecodecs spng, level 1", imagecodecs_spng, True),
    ("**ours: Up filter, libdeflate 1**", lambda: png.encode_batch, True),
    ("Up filter, ISA-L 1", isal, True),
    ("Up filter, zlib 1", lambda: up_filter(lambda image: zlib.compress(image, 1)), True),
    ("**webp: Pillow, lossless**", lambda: webp.encode_batch, True),
    ("webp: Pillow, quality 90", lambda: partial(webp.encode_batch, quality=90), False),
    (
        "**jpeg: simplejpeg, quality 95, 4:4:4**",
        lambda: partial(jpeg.encode_batch, quality=95),
        False,
    ),
    ("Pillow JPEG, quality 95, 4:4:4", lambda: pillow_jpeg, False),
)
"""Name, how it is made, and whether it is lossless; the ones in bold are those of Synthloom."""


def pillow_jpeg(pixels: Pixels) -> list[bytes]:
    """Pillow's JPEG, colours at full resolution."""
    return one_by_one(lambda image: saved(image, "JPEG", quality=95, subsampling=0))(pixels)


def one_by_one(encode: Callable[[Pixels], bytes]) -> Encode:
    """An encoder of single images [H, W, C]."""
    return lambda pixels: [encode(image) for image in pixels]


def saved(image: Pixels, kind: str, **options: object) -> bytes:
    """One file by Pillow."""
    out = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(out, kind, **options)
    return out.getvalue()


def natural(shape: tuple[int, int, int, int]) -> Pixels:
    """Smooth shapes with a little noise: neither blank nor incompressible."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (shape[0], shape[1] // 4, shape[2] // 4, shape[3]))
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    return (large + random.normal(0, 2, large.shape)).clip(0, 255).astype(np.uint8)


def measure(rounds: int, seconds: float) -> list[Contender]:
    """Every contender at every size with every number of threads."""
    found = [Contender(name, make, lossless) for name, make, lossless in CONTENDERS]
    for contender in found:
        try:
            contender.encode = contender.make()
        except ImportError:
            continue
    present = [contender for contender in found if contender.encode is not None]
    for size, shape in SIZES.items():
        pixels = natural(shape)
        for contender in present:
            contender.bytes[size] = _checked(contender, pixels)
        for threads in THREADS:
            for _ in range(rounds):
                for contender in present:
                    assert contender.encode is not None
                    rate = _rate(contender.encode, pixels, threads, seconds)
                    contender.rates.setdefault((size, threads), []).append(rate)
    return found


def ratio(contender: Contender, reference: Contender, size: str, threads: int) -> float:
    """Median over the rounds of the ratio to the reference."""
    pairs = zip(contender.rates[size, threads], reference.rates[size, threads], strict=True)
    return median(a / b for a, b in pairs)


def markdown(found: list[Contender]) -> Iterator[str]:
    """The table: images a second with one thread, ratios with one thread and two, bytes."""
    reference = next(contender for contender in found if contender.name == REFERENCE)
    yield "| encoder | " + " | ".join(SIZES) + " |"
    yield "|---|" + "---|" * len(SIZES)
    for contender in found:
        cells = [_cell(contender, reference, size) for size in SIZES]
        yield f"| {contender.name} | " + " | ".join(cells) + " |"


def _cell(contender: Contender, reference: Contender, size: str) -> str:
    if contender.encode is None:
        return "absent"
    rate = median(contender.rates[size, 1])
    ratios = ", ".join(f"{ratio(contender, reference, size, n):.1f}" for n in THREADS)
    return f"{float(f'{rate:.3g}'):,.0f}/s; {ratios} ×; {contender.bytes[size]:,.0f} B"


def _checked(contender: Contender, pixels: Pixels) -> float:
    """Bytes an image; an AssertionError when a lossless file does not decode to the image."""
    assert contender.encode is not None
    files = contender.encode(pixels)
    if contender.lossless:
        for image, payload in zip(pixels, files, strict=True):
            decoded = np.asarray(Image.open(io.BytesIO(payload)))
            assert (decoded.reshape(*image.shape[:2], -1) == image).all(), contender.name
    return sum(map(len, files)) / len(files)


def _rate(encode: Encode, pixels: Pixels, threads: int, seconds: float) -> float:
    clock = time.thread_time if threads == 1 else time.perf_counter

    def work(_: int) -> float:
        made, began = 0, clock()
        while (took := clock() - began) < seconds:
            made += len(encode(pixels))
        return made / took

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, range(threads)))


def _chunk(body: bytes) -> bytes:
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.encoders", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.25, help="of one measurement")
    options = parser.parse_args()
    for line in markdown(measure(options.rounds, options.seconds)):
        print(line)


if __name__ == "__main__":
    main()
