"""The generator's layers in a row: convolutions told from transposed ones, reshapes found.

Each layer's channels must be those of the layer before it; that decides nearly everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import permutations
from math import isqrt
from typing import NamedTuple

from models.errors import ModelError
from models.importing.proposal.blocks import Block, Sort

WEIGHTED = (Sort.LINEAR, Sort.CONV)
PARTS = 5
NORMS = (Sort.BATCH_NORM, Sort.NORM)


class NoProposalError(ModelError):
    """The layers are not a row that is known; a spec has to be written by hand."""


class Step(NamedTuple):
    """A layer at its place. word: its type in a spec. out: features or channels it gives.

    block: None for a reshape or a pixel shuffle, whose `shape` is [channels, side, side] or
    [factor].
    """

    word: str
    out: int
    block: Block | None = None
    kernel: int = 0
    shape: tuple[int, ...] = ()


class Chain(NamedTuple):
    """Steps from the joined inputs to the image. width: features that go in; side: of the first
    feature map, 0 if there is none."""

    steps: list[Step]
    width: int
    side: int


def follow(blocks: Sequence[Block]) -> Chain:
    """The chain in the order given; else with norms that were registered apart put in between, or
    with the parts of the network, each of which has its layers in order, in another order."""
    try:
        return _Walk(blocks).chain()
    except NoProposalError:
        for other in (_interleaved(blocks), *_rearranged(blocks)):
            with suppress(NoProposalError):
                return _Walk(other).chain()
        raise


def _rearranged(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Parts by the first words of their names, in every order; a file of safetensors is sorted."""
    for depth in (1, 2, 3):
        parts: dict[str, list[Block]] = {}
        for block in blocks:
            parts.setdefault(".".join(block.name.split(".")[:depth]), []).append(block)
        if 1 < len(parts) <= PARTS:
            for some in permutations(parts.values()):
                yield [block for part in some for block in part]
            return


def _interleaved(blocks: Sequence[Block]) -> list[Block]:
    """Each norm behind the first layer before it in the row that gives its channels."""
    norms = [block for block in blocks if block.sort in NORMS]
    mixed = []
    for block in (block for block in blocks if block.sort not in NORMS):
        mixed.append(block)
        gives = {block.bias} if block.bias else set(block.weight[:2])
        if norms and norms[0].size in gives:
            mixed.append(norms.pop(0))
    return mixed + norms


class _Walk:
    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.steps: list[Step] = []
        self.flat = True
        self.size = 0  # features, or channels
        self.side = 0

    def chain(self) -> Chain:
        first = next((block for block in self.blocks if block.sort in WEIGHTED), None)
        if first is None or first is not self.blocks[0]:
            raise NoProposalError("its first layer is neither linear nor a convolution")
        width = self.size = first.weight[1 if first.sort is Sort.LINEAR else 0]
        for place, block in enumerate(self.blocks):
            after = self.blocks[place + 1] if place + 1 < len(self.blocks) else None
            self._step(block, after)
        return Chain(self.steps, width, self.side)

    def _step(self, block: Block, after: Block | None) -> None:
        if block.sort is Sort.LINEAR:
            self._linear(block)
        elif block.sort is Sort.CONV:
            self._conv(block, after)
        elif block.sort in NORMS:
            self._norm(block, after)
        elif block.sort is Sort.PRELU:
            self.steps.append(Step("prelu", self.size, block))
        else:
            raise NoProposalError(f"{block.name} {list(block.weight)} is no layer of a known sort")

    def _linear(self, block: Block) -> None:
        if not self.flat or block.weight[1] != self.size:
            raise _misfit(block, self.size)
        self.size = block.weight[0]
        self.steps.append(Step("linear", self.size, block))

    def _norm(self, block: Block, after: Block | None) -> None:
        if self.flat and block.size != self.size:
            self._reshape(block.size, block)
        if block.size != self.size:
            raise _misfit(block, self.size)
        word = "batch_norm" if block.sort is Sort.BATCH_NORM else "norm"
        self.steps.append(Step(word, self.size, block))

    def _reshape(self, channels: int, block: Block) -> None:
        side = isqrt(self.size // channels) if channels and not self.size % channels else 0
        if not side or channels * side * side != self.size:
            raise _misfit(block, self.size)
        self.flat, self.size, self.side = False, channels, side
        self.steps.append(Step("reshape", channels, shape=(channels, side, side)))

    def _conv(self, block: Block, after: Block | None) -> None:
        if self.flat:
            ways = [way for way in _ways(block, after) if self._divides(way[1])]
            if not ways:
                raise _misfit(block, self.size)
            self._reshape(ways[0][1], block)
        ways = [way for way in _ways(block, after) if way[1] == self.size]
        if not ways:
            ways = self._shuffled(block, after)
        word, _, out = ways[0]
        self.size = out
        self.steps.append(Step(word, out, block, kernel=block.weight[2]))

    def _divides(self, channels: int) -> bool:
        rest = self.size // channels if self.size % channels == 0 else 0
        return rest > 0 and isqrt(rest) ** 2 == rest

    def _shuffled(self, block: Block, after: Block | None) -> list[tuple[str, int, int]]:
        """Channels became pixels between the layers: four or sixteen to one."""
        for factor in (2, 4):
            ways = [way for way in _ways(block, after) if way[1] * factor**2 == self.size]
            if ways:
                self.steps.append(Step("pixel_shuffle", ways[0][1], shape=(factor,)))
                return ways
        raise _misfit(block, self.size)


def _ways(block: Block, after: Block | None) -> list[tuple[str, int, int]]:
    """(type, channels in, channels out), the likelier first: bias and norm have the out's length.

    Kernels of transposed convolutions are mostly even, those of others odd.
    """
    a, b, kernel, _ = block.weight
    ways = [("conv_transpose", a, b), ("conv", b, a)]
    lengths = {block.bias} - {None}
    if after is not None and after.sort in NORMS:
        lengths.add(after.size)
    ways = [way for way in ways if lengths <= {way[2]}] or ways
    return ways if kernel % 2 == 0 else sorted(ways, key=lambda way: way[0])


def _misfit(block: Block, size: int) -> NoProposalError:
    return NoProposalError(f"{block.name} {list(block.weight)} does not follow on {size} channels")
