"""How many images a processor had better compute at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from models.generator import Generator

PIECE_BYTES = 8 << 20
"""Of the largest activation of a piece. It stays below what the heap hands back to the system
after each use (`app.engine.memory`): every page of such a block costs the kernel a fault and 4 KiB
of zeros, again and again, a sixth of the time of a small convolutional generator."""
SMALLEST_PIECE = 2


def piece_of(batch: int, image_bytes: int) -> int:
    """The size of the pieces in which a batch runs; `batch` where they bring nothing.

    image_bytes: `activation_bytes` of the generator. It decides, not a measurement of time: pixels
    may depend on the piece by rounding.
    """
    piece = batch
    while piece > SMALLEST_PIECE and piece * image_bytes > PIECE_BYTES:
        piece = 1 << (piece - 1).bit_length() - 1  # the next lower power of two
    return piece


@torch.inference_mode()
def activation_bytes(generator: Generator) -> int:
    """The largest tensor of a forward pass, in bytes an image; weights don't count.

    What grows with the number of images is what two passes differ by. 0 where pieces bring
    nothing, beside the CPU, and of a graph that another runtime than torch computes.
    """
    if generator.device.type != "cpu" or next(generator.parameters(), None) is None:
        return 0
    generator.eval()
    one, two = (_sizes_of(generator, count) for count in (1, 2))
    return max((more - less for less, more in zip(one, two, strict=False)), default=0)


def _sizes_of(generator: Generator, count: int) -> list[int]:
    z = torch.zeros(count, generator.latent_size)
    labels = torch.zeros(count, dtype=torch.int64)
    sizes = _Sizes()
    with sizes:
        generator(z, labels if generator.class_count else None)
    return sizes.seen


class _Sizes(TorchFunctionMode):
    """Keeps the bytes of what each of torch's functions gives in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.seen.append(made.numel() * made.element_size())
        return made
