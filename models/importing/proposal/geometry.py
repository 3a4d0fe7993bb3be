"""Strides, paddings and upsampling, which no weight holds: solved for sides that images have.

Recipes of the field have costs, and the cheapest ways to a usual side come first: DCGAN
(Radford et al. 2016) doubles with kernel 4, stride 2, padding 1; others upsample before a
convolution that keeps the size; one common course uses no padding at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from models.importing.proposal.blocks import missing_between
from models.importing.proposal.chain import Chain, Step

SIDES: Final[Mapping[int, float]] = {
    28: 0, 32: 0, 64: 0, 128: 0.3, 256: 0.5, 512: 0.7, 16: 1.0, 8: 1.5, 48: 1.0, 96: 1.0,
    224: 1.0, 56: 1.2, 112: 1.2, 1024: 1.5, 14: 3.0,
}  # fmt: skip
UNUSUAL: Final = 4.0
STATED: Final = 8.0
SIDE_LIMIT: Final = 1024
BEAM: Final = 200
CANDIDATES: Final = 3
DISTANCE: Final = 3.5
NO_PADDING: Final = -4.0
SHUFFLED: Final = (0.0, 2.0)
"""Where pixels come out of channels, nothing is upsampled besides."""
LATER: Final = 0.01
"""Of two ways that upsample equally often, the one that does it first is the usual one."""


class Move(NamedTuple):
    """What one convolution does to the side of the feature map."""

    stride: int
    padding: int
    output_padding: int = 0
    upsample: int = 1

    def side(self, step: Step, side: int) -> int:
        """Side after the step, by the formulas of torch.nn."""
        if step.word == "conv_transpose":
            grown = (side - 1) * self.stride - 2 * self.padding + step.kernel
            return grown + self.output_padding
        return (side * self.upsample + 2 * self.padding - step.kernel) // self.stride + 1


class Plan(NamedTuple):
    """One way through all convolutions, in their order, to images of `side`."""

    moves: tuple[Move, ...]
    side: int
    cost: float

    def __str__(self) -> str:
        words = [_said(move) for move in self.moves]
        return f"{self.side} x {self.side}: " + ", then ".join(words)


def _said(move: Move) -> str:
    grown = "" if move.upsample == 1 else f"upsample {move.upsample}, "
    more = f" + {move.output_padding}" if move.output_padding else ""
    return f"{grown}stride {move.stride} padding {move.padding}{more}"


TRANSPOSED: Final[Mapping[int, tuple[tuple[Move, float], ...]]] = {
    1: ((Move(1, 0), 0.0),),
    2: ((Move(2, 0), 0.0), (Move(1, 0), 3.0)),
    3: ((Move(2, 1, 1), 0.0), (Move(1, 1), 1.0), (Move(2, 0), 1.5), (Move(2, 1), 1.5),
        (Move(1, 0), 2.5)),
    4: ((Move(2, 1), 0.0), (Move(1, 0), 2.0), (Move(2, 0), 2.0)),
    5: ((Move(2, 2, 1), 0.0), (Move(1, 2), 1.0), (Move(2, 2), 1.5), (Move(2, 0), 2.5),
        (Move(1, 0), 2.5)),
    6: ((Move(2, 2), 0.0), (Move(1, 0), 3.0), (Move(2, 0), 3.0)),
    7: ((Move(2, 3, 1), 0.5), (Move(1, 3), 1.0), (Move(1, 0), 2.0)),
    8: ((Move(4, 2), 0.0), (Move(2, 3), 0.5), (Move(1, 0), 3.0)),
}  # fmt: skip
"""Kernel of a transposed convolution → its usual strides and paddings."""


def plans(chain: Chain, stated_side: int | None) -> list[Plan]:
    """At most three ways to an image, the likeliest first; none if no usual way fits."""
    beam: list[tuple[float, int, tuple[Move, ...]]] = [(0.0, chain.side or 1, ())]
    before: Step | None = None
    shuffled = any(step.word == "pixel_shuffle" for step in chain.steps)
    for step in chain.steps:
        if step.word in ("conv", "conv_transpose"):
            prices = SHUFFLED if shuffled else _prices(step, before)
            beam = _extended(beam, step, prices)
        elif step.word == "pixel_shuffle":
            beam = [(cost, side * step.shape[0], moves) for cost, side, moves in beam]
        before = step
    found = [Plan(moves, side, cost + _total(moves, side, stated_side))
             for cost, side, moves in beam]  # fmt: skip
    found.sort(key=lambda plan: plan.cost)
    return [plan for plan in found if plan.cost <= found[0].cost + DISTANCE][:CANDIDATES]


def _extended(
    beam: Sequence[tuple[float, int, tuple[Move, ...]]], step: Step, prices: tuple[float, float]
) -> list[tuple[float, int, tuple[Move, ...]]]:
    longer = []
    for cost, side, moves in beam:
        for move, price in _options(step, side, prices):
            after = move.side(step, side)
            price += LATER * len(moves) if move.upsample > 1 else 0.0
            if 1 <= after <= SIDE_LIMIT:
                longer.append((cost + price, after, (*moves, move)))
    return sorted(longer)[:BEAM]


def _options(step: Step, side: int, prices: tuple[float, float]) -> list[tuple[Move, float]]:
    if step.word == "conv_transpose":
        if side == 1:  # the first one: stride and padding of nothing but its kernel
            return [(Move(1, 0), 0.0)]
        return list(TRANSPOSED.get(step.kernel, ()))
    margin = (step.kernel - 1) // 2
    if side == 1 or step.kernel == 1:
        return [(Move(1, margin), 0.0)]
    plain, doubled = prices
    return [
        (Move(1, margin), plain),
        (Move(1, margin, upsample=2), doubled),
        (Move(1, margin, upsample=4), doubled + 3.0),
        (Move(1, 0), plain + 3.0),
    ]


def _prices(step: Step, before: Step | None) -> tuple[float, float]:
    """Without and with an upsampling before a convolution, by the numbers that a name skips.

    Two skipped are an activation and an upsampling; one is either of them; none is neither.
    """
    if before is None or before.block is None or step.block is None:
        return 0.5, 0.3
    skipped = missing_between(before.block.name, step.block.name)
    return {None: (0.5, 0.3), 0: (0.1, 1.5), 1: (0.4, 0.5)}.get(skipped, (1.0, 0.0))


def _total(moves: Sequence[Move], side: int, stated: int | None) -> float:
    if stated is not None:
        return 0.0 if side == stated else STATED
    bare = len(moves) >= 3 and all(m.padding == 0 and m.upsample == 1 for m in moves)
    return SIDES.get(side, UNUSUAL) + (NO_PADDING if bare else 0.0)
