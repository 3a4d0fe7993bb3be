"""Weights that a file stores in parts, because they were normed while training. No torch.

Weight norm (Salimans & Kingma 2016) stores w as direction v and length g: w = g v / |v|.
Spectral norm (Miyato et al. 2018) stores it with the vectors u and v of its largest singular
value: w / (u' W v), W with one axis first and the others flattened. A generator that is not
trained any more needs the product only. torch names the parts in two ways each, by hook and by
parametrization; both are known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Literal, NamedTuple

from models.declared.shapes import Shape

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


class Found(NamedTuple):
    """A tensor of a file. dtype: as safetensors spells it, F32."""

    dtype: str
    shape: Shape


class Source(NamedTuple):
    """How a tensor of ours is made of those of the file.

    kind: "copy" of one; "weight_norm" of (v, g); "spectral_norm" of (w, u, v), with `axis` of w
    first; "zero" of none.
    """

    kind: Literal["copy", "weight_norm", "spectral_norm", "zero"]
    names: tuple[str, ...] = ()
    axis: int = 0


class Available(NamedTuple):
    """A tensor that the file can give, stored so or made of parts of the shapes `parts`."""

    dtype: str
    shape: Shape
    source: Source
    parts: tuple[Shape, ...] = ()


class Parts(NamedTuple):
    """How a parametrization names what it stores, behind the name of the weight."""

    kind: Literal["weight_norm", "spectral_norm"]
    names: tuple[str, ...]


STORED = (
    Parts("weight_norm", ("{stem}_v", "{stem}_g")),
    Parts("weight_norm", ("{group}.original1", "{group}.original0")),
    Parts("spectral_norm", ("{stem}_orig", "{stem}_u", "{stem}_v")),
    Parts("spectral_norm", ("{group}.original", "{group}.0._u", "{group}.0._v")),
)


def fold(found: Mapping[str, Found]) -> dict[str, Available]:
    """What the file can give, in its order: parts that belong together are one tensor."""
    made: dict[str, Available] = {}
    taken: set[str] = set()
    for name, tensor in found.items():
        stem, parts = _whole(name, found)
        if parts is None:
            made[name] = Available(tensor.dtype, tensor.shape, Source("copy", (name,)))
        elif stem not in found:
            names = tuple(_named(stem, part) for part in parts.names)
            first = found[names[0]]
            shapes = tuple(found[part].shape for part in names)
            made[stem] = Available(first.dtype, first.shape, Source(parts.kind, names), shapes)
            taken.update(names)
    return {name: each for name, each in made.items() if name not in taken}


def parts_misfit(each: Available, axis: int) -> str:
    """Why the parts can't be multiplied; empty when they can. axis: of w, that comes first."""
    shape = each.shape
    if each.source.kind == "weight_norm":
        length = each.parts[1]
        fits = not length or (
            len(length) == len(shape)
            and all(part in (1, side) for part, side in zip(length, shape, strict=True))
        )
        return "" if fits else f"length {list(length)} of direction {list(shape)}"
    if each.source.kind == "spectral_norm":
        rows, columns = shape[axis], prod(shape) // max(1, shape[axis])
        if each.parts[1:] != ((rows,), (columns,)):
            found = " and ".join(str(list(part)) for part in each.parts[1:])
            return f"vectors {found} found, [{rows}] and [{columns}] wanted"
    return ""


def _whole(name: str, found: Mapping[str, Found]) -> tuple[str, Parts | None]:
    """The weight that a stored part belongs to, if all of its parts are there."""
    for parts in STORED:
        stem = _stem(name, parts.names[0])
        named = [found.get(_named(stem, part)) for part in parts.names] if stem else []
        if named and all(each is not None and each.dtype in FLOATS for each in named):
            return stem, parts
    return name, None


def _stem(name: str, pattern: str) -> str:
    """The weight's name, of the name of its first part: "a.weight" of "a.weight_v"."""
    end = pattern.split("}", 1)[1]
    if not name.endswith(end):
        return ""
    stem = name.removesuffix(end)
    if pattern.startswith("{group}"):
        layer, separator, weight = stem.rpartition("parametrizations.")
        return layer + weight if separator else ""
    return stem


def _named(stem: str, pattern: str) -> str:
    layer, dot, weight = stem.rpartition(".")
    return pattern.format(stem=stem, group=f"{layer}{dot}parametrizations.{weight}")
