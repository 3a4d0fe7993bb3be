"""A table of tensors as layers with weights: what kind each is, as far as its shapes tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final, Literal, NamedTuple

Shape = tuple[int, ...]

WEIGHTS: Final = ("weight", "weight_orig", "weight_v", "original", "original1")
"""Last words of a weight: plain, under spectral norm, under weight norm, parametrised."""
PARAMETRISED: Final = re.compile(r"\.parametrizations\.(weight|bias)$")
EMBEDDING: Final = re.compile(r"emb|label|class|cond|style|lookup", re.IGNORECASE)


class Sort(StrEnum):
    """Sorts of layers that shapes tell apart."""

    LINEAR = "linear"
    CONV = "conv"
    BATCH_NORM = "batch_norm"
    NORM = "norm"
    EMBEDDING = "embedding"
    PRELU = "prelu"
    OTHER = "other"


class Block(NamedTuple):
    """One layer with weights: [out, in] linear, [a, b, k, k] conv, [rows, width] embedding.

    size: channels of a norm. bias: length of the bias, if there is one.
    """

    name: str
    sort: Sort
    weight: Shape
    bias: int | None

    @property
    def size(self) -> int:
        return self.weight[0] if self.weight else 0


Order = Literal["file", "natural", "plain"]


def blocks_of(tensors: Iterable[tuple[str, Shape]], order: Order) -> list[Block]:
    """The layers in the file's order, or in that of their names: numbers by value, or as text."""
    layers: dict[str, dict[str, Shape]] = {}
    for name, shape in tensors:
        layer, _, word = name.rpartition(".")
        layers.setdefault(PARAMETRISED.sub("", layer), {})[word] = shape
    names = list(layers)
    if order != "file":
        names.sort(key=_natural if order == "natural" else None)
    return [_block(name, layers[name]) for name in names]


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(p)) if p.isdecimal() else (1, p) for p in re.split(r"(\d+)", name) if p]


def _block(name: str, words: dict[str, Shape]) -> Block:
    weight = next((words[word] for word in WEIGHTS if word in words), ())
    bias = words["bias"][0] if len(words.get("bias", ())) == 1 else None
    return Block(name, _sort(name, weight, bias, words), weight, bias)


def _sort(name: str, weight: Shape, bias: int | None, words: dict[str, Shape]) -> Sort:
    if "running_mean" in words:
        return Sort.BATCH_NORM
    if 0 in weight:
        return Sort.OTHER
    if len(weight) == 4 and weight[2] == weight[3]:
        return Sort.CONV
    if len(weight) == 2:
        table = bias is None and EMBEDDING.search(name.rpartition(".")[2] or name)
        return Sort.EMBEDDING if table else Sort.LINEAR
    if len(weight) == 1:
        return Sort.PRELU if bias is None else Sort.NORM
    return Sort.OTHER


def missing_between(before: str, after: str) -> int | None:
    """Layers without weights between two of one `Sequential`, by their numbers; None: unknown."""
    first, second = before.rpartition("."), after.rpartition(".")
    if first[0] != second[0] or not (first[2].isdecimal() and second[2].isdecimal()):
        return None
    return max(0, int(second[2]) - int(first[2]) - 1)


def is_list(blocks: Sequence[Block]) -> bool:
    """Whether no number of any `Sequential` is left out: activations are then called in code."""
    gaps = [missing_between(a.name, b.name) for a, b in pairwise(blocks)]
    known = [gap for gap in gaps if gap is not None]
    return not any(known)
