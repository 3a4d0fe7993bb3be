"""What weights do not tell, each as a question with at most three answers, the usual one first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, Final, NamedTuple

from models.importing.proposal.blocks import Block
from models.importing.proposal.chain import Chain, NoProposalError
from models.importing.proposal.geometry import SIDES, Plan, plans
from models.importing.proposal.selection import Selection

CANDIDATES: Final = 3
LATENT_WORDS: Final = (
    "nz", "z_dim", "zdim", "latent_dim", "latent_size", "noise_dim", "z_size", "nz_dim", "dim_z",
    "latent", "z",
)  # fmt: skip
SIDE_WORDS: Final = ("image_size", "img_size", "imagesize", "imgsize", "resolution", "size")
USUAL_LATENTS: Final = frozenset({2, 10, 16, 20, 32, 50, 62, 64, 100, 128, 256, 512})
USUAL_CLASSES: Final = 10
RARE: Final = 2.0


class Candidate(NamedTuple):
    """One answer. `value` is what the spec is made of."""

    label: str
    why: str
    value: Any


class Unknown(NamedTuple):
    """A question; the first candidate is taken when nobody answers."""

    name: str
    question: str
    candidates: tuple[Candidate, ...]


class Inputs(NamedTuple):
    """What goes in: inputs as in a spec, how they are merged, and the names of their tensors."""

    inputs: list[Any]
    merge: str
    latent_size: int
    classes: Any
    conditions: list[Any]
    names: dict[str, str]


class Picture(NamedTuple):
    """Size of the images; the plan of the convolutions, if there are any."""

    height: int
    width: int
    channels: int
    plan: Plan | None


def stated(scalars: Mapping[str, Any], words: Sequence[str]) -> int | None:
    """A whole number beside the tensors, under one of those names."""
    for name, value in scalars.items():
        if name.lower() in words and type(value) is int and 0 < value <= 65_536:
            return value
    return None


def input_candidates(
    width: int, tables: Sequence[Block], selection: Selection, scalars: Mapping[str, Any]
) -> tuple[Candidate, ...]:
    """How the latent and the label make the `width` features that the first layer takes."""
    if tables:
        return _embedded(width, tables)
    latent = selection.latent_size or stated(scalars, LATENT_WORDS)
    if latent is not None and latent <= width:
        why = "the encoder's mean has that size" if selection.latent_size else "stated in the file"
        if latent == width:
            return (_plain(width, why),)
        return _one_hot(latent, width - latent, why)
    if width in USUAL_LATENTS or width - USUAL_CLASSES not in USUAL_LATENTS:
        return (_plain(width, "the first layer takes that many"),)
    why = f"{width} is a usual latent size and {USUAL_CLASSES} classes"
    return (
        *_one_hot(width - USUAL_CLASSES, USUAL_CLASSES, why),
        _plain(width, "the first layer takes that many"),
    )


def _plain(width: int, why: str) -> Candidate:
    return Candidate(
        f"latent of {width}, no label", why, Inputs(["latent"], "concat", width, 0, [], {})
    )


def _one_hot(latent: int, classes: int, why: str) -> tuple[Candidate, ...]:
    orders = (["latent", "one_hot"], ["one_hot", "latent"])
    return tuple(
        Candidate(
            f"{order[0]} first, then {order[1]}: {latent} and {classes}",
            why,
            Inputs(list(order), "concat", latent, classes, [], {}),
        )
        for order in orders
    )


def _embedded(width: int, tables: Sequence[Block]) -> tuple[Candidate, ...]:
    total = sum(table.weight[1] for table in tables)
    latent = width - total
    candidates = []
    if latent > 0:
        for first, label in ((True, "labels first, then the latent"), (False, "latent first")):
            value = _with_tables(tables, "concat", latent, label_first=first)
            candidates.append(Candidate(label, f"{width} = {latent} + {total}", value))
    if all(table.weight[1] == width for table in tables):
        value = _with_tables(tables, "multiply", width, label_first=True)
        why = "latent and table have the same width"
        candidates.insert(0, Candidate("latent times label, value by value", why, value))
    if not candidates:
        raise NoProposalError(
            f"tables of {total} features do not fit a first layer that takes {width}"
        )
    return tuple(candidates[:CANDIDATES])


def _with_tables(tables: Sequence[Block], merge: str, latent: int, label_first: bool) -> Inputs:
    several = len(tables) > 1
    words = [f"label{i}" if several else "class" for i, _ in enumerate(tables)]
    embedded: list[Any] = []
    for table, word in zip(tables, words, strict=True):
        one = {"type": "embedding", "width": table.weight[1]}
        embedded.append(one | ({"of": word} if several else {}))
    inputs = [*embedded, "latent"] if label_first else ["latent", *embedded]
    first = 0 if label_first else 1
    names = {f"inputs.{first + i}": table.name for i, table in enumerate(tables)}
    rows = [table.weight[0] for table in tables]
    conditions = [{"name": w, "count": n} for w, n in zip(words, rows, strict=True)]
    return Inputs(
        inputs, merge, latent, rows if several else rows[0], conditions if several else [], names
    )


def picture_candidates(chain: Chain, scalars: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """Which image the last layer gives, and by which strides."""
    last = next(s for s in reversed(chain.steps) if s.word in ("linear", "conv", "conv_transpose"))
    side = stated(scalars, SIDE_WORDS)
    if last.word == "linear":
        return _flat(last.out, side)
    if last.out not in (1, 3, 4):
        raise NoProposalError(
            f"its last layer gives {last.out} channels, and images have 1, 3 or 4"
        )
    found = plans(chain, side)
    if not found:
        raise NoProposalError("no usual strides and paddings lead through its convolutions")
    return tuple(
        Candidate(
            str(plan), "usual for these kernels", Picture(plan.side, plan.side, last.out, plan)
        )
        for plan in found
    )


def _flat(size: int, side: int | None) -> tuple[Candidate, ...]:
    """A row of numbers as a square: of one, three or four channels."""
    squares = [(isqrt(size // n), n) for n in (1, 3, 4) if size % n == 0]
    fitting = [(s, n) for s, n in squares if s * s * n == size and side in (None, s)]
    if not fitting:
        raise NoProposalError(f"its last layer gives {size} numbers, which are no square image")
    usual = [pair for pair in fitting if SIDES.get(pair[0], RARE) < RARE]
    return tuple(
        Candidate(f"{s} x {s}, {n} channels", f"{size} numbers", Picture(s, s, n, None))
        for s, n in usual or fitting
    )
