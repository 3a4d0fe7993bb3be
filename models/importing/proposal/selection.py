"""Which layers of a file are the generator's: encoders and discriminators are named and left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from models.importing.parts import AVERAGED, GENERATOR, OTHERS
from models.importing.proposal.blocks import Block, Sort

ENCODER: Final = re.compile(r"^(enc|encoder|fc_?mu|mu|mean|fc_?var|log_?var|logvar|sigma)", re.I)
WRAPPERS: Final = ("module", "_orig_mod", "model", "net", "vae", "gan")
CLASSES_LIMIT: Final = 1000


class Selection(NamedTuple):
    """The generator's layers, those that are left out, and what the latter tell.

    latent_size, class_count: known where an encoder's last layer says so.
    """

    kept: list[Block]
    ignored: list[Block]
    family: str
    latent_size: int | None = None
    class_count: int | None = None
    facts: tuple[str, ...] = ()


def select(blocks: Sequence[Block]) -> Selection:
    """By the first word of the names if it says something, then by the shapes of an encoder."""
    heads = [_head(block.name) for block in blocks]
    is_generator = [bool(GENERATOR.search(head)) for head in heads]
    is_other = [bool(OTHERS.search(head) or ENCODER.search(head)) for head in heads]
    averaged = next((h for h, is_g in zip(heads, is_generator, strict=True)
                     if is_g and AVERAGED.search(h)), None)  # fmt: skip
    if averaged is not None:
        is_other = [head != averaged for head in heads]
    if any(is_generator) and any(is_other):
        kept = [b for b, other in zip(blocks, is_other, strict=True) if not other]
        ignored = [b for b, other in zip(blocks, is_other, strict=True) if other]
        return _named(kept, ignored)
    return _by_shape(blocks)


def _head(name: str) -> str:
    words = name.lower().split(".")
    while len(words) > 1 and words[0] in WRAPPERS:
        words = words[1:]
    return words[0]


def _named(kept: list[Block], ignored: list[Block]) -> Selection:
    """A VAE if what is left out ends in two equal layers: mean and log-variance."""
    latent = _twin_size(ignored)
    facts = (f"{len(ignored)} layers are not the generator's, by their names",)
    if latent is None:
        return Selection(kept, ignored, "gan", facts=facts)
    return Selection(kept, ignored, "vae", latent, _classes(kept, latent), facts)


def _twin_size(blocks: Sequence[Block]) -> int | None:
    linear = [block for block in blocks if block.sort is Sort.LINEAR]
    for one, two in pairwise(linear):
        if one.weight == two.weight and one.weight[0] < one.weight[1]:
            return one.weight[0]
    return None


def _by_shape(blocks: Sequence[Block]) -> Selection:
    """Mean and log-variance are two neighbours [z, h]; what takes z or z + classes follows."""
    for place, (one, two) in enumerate(pairwise(blocks)):
        twins = one.sort is two.sort is Sort.LINEAR and one.weight == two.weight
        if not twins or one.weight[0] >= one.weight[1]:
            continue
        latent, kept = one.weight[0], list(blocks[place + 2 :])
        classes = _classes(kept, latent)
        if kept and classes is not None:
            ignored = list(blocks[: place + 2])
            fact = f"{one.name} and {two.name} are an encoder's mean and log-variance, [{latent}]"
            return Selection(kept, ignored, "vae", latent, classes, (fact,))
    return Selection(list(blocks), [], "gan")


def _classes(kept: Sequence[Block], latent: int) -> int | None:
    """Inputs of the first layer beyond the latent, if they can be classes."""
    first = next((b for b in kept if b.sort in (Sort.LINEAR, Sort.CONV)), None)
    if first is None:
        return None
    width = first.weight[1] if first.sort is Sort.LINEAR else first.weight[0]
    extra = width - latent
    return extra if extra != 1 and 0 <= extra <= CLASSES_LIMIT else None
