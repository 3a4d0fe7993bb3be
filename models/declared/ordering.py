"""Layers of a file and layers of ours, paired by order where shapes agree with it. No torch.

Layers as they follow one another are the first guess. Where shapes contradict it, a layer whose
shapes nothing else has is still known by them; what could be either of two is not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from models.declared.shapes import Shape
from models.errors import TensorMatchError

Shapes = frozenset[tuple[str, Shape]]


class LayerTensors(NamedTuple):
    """A layer by its tensors. words: last word of a name -> the name."""

    name: str
    words: dict[str, str]
    shapes: Shapes

    @property
    def wants(self) -> str:
        """Its shapes, for a sentence."""
        return ", ".join(f"{word} {list(shape)}" for word, shape in sorted(self.shapes))


def layers_of(tensors: Mapping[str, Shape], counters: Iterable[str]) -> list[LayerTensors]:
    """The layers in the order of their first tensors; counters of batches do not tell them apart.

    A parameter outside of any layer is one, as its weight.
    """
    skipped = set(counters)
    words: dict[str, dict[str, str]] = {}
    for name in tensors:
        layer, _, word = name.rpartition(".")
        words.setdefault(layer or name, {})[word if layer else "weight"] = name
    return [
        LayerTensors(
            layer,
            names,
            frozenset((w, tensors[name]) for w, name in names.items() if name not in skipped),
        )
        for layer, names in words.items()
    ]


def pair(
    ours: list[LayerTensors], theirs: list[LayerTensors]
) -> list[tuple[LayerTensors, LayerTensors]]:
    """Each of ours with one of theirs; TensorMatchError when order and shapes leave it open.

    Where one of ours has no equal and as many of theirs are left, they are paired all the same:
    the caller then names the difference.
    """
    if [layer.shapes for layer in ours] == [layer.shapes for layer in theirs]:
        return list(zip(ours, theirs, strict=True))
    pairs = _by_shapes(ours, theirs)
    paired = {layer.name for layer, _ in pairs}
    taken = {layer.name for _, layer in pairs}
    lonely = [layer for layer in ours if layer.name not in paired]
    left = [layer for layer in theirs if layer.name not in taken]
    if lonely and len(lonely) != len(left):
        raise TensorMatchError([_no_equal(layer, left) for layer in lonely])
    return pairs + (list(zip(lonely, left, strict=True)) if lonely else [])


def _by_shapes(
    ours: list[LayerTensors], theirs: list[LayerTensors]
) -> list[tuple[LayerTensors, LayerTensors]]:
    pairs, open_ = [], []
    offered = _grouped(theirs)
    for shapes, mine in _grouped(ours).items():
        equal = offered.get(shapes, [])
        if len(mine) == len(equal) == 1:
            pairs.append((mine[0], equal[0]))
        elif len(equal) >= len(mine):
            open_.append(
                f"{_names(mine)}: wanted {mine[0].wants}, which {_names(equal)} of the file have, "
                "and the order of its other layers is not that of ours; say which is which under "
                '"names", or name what the generator does not have under "ignore"'
            )
    if open_:
        raise TensorMatchError(open_)
    return pairs


def _grouped(layers: list[LayerTensors]) -> dict[Shapes, list[LayerTensors]]:
    groups: dict[Shapes, list[LayerTensors]] = {}
    for layer in layers:
        groups.setdefault(layer.shapes, []).append(layer)
    return groups


def _no_equal(layer: LayerTensors, left: list[LayerTensors]) -> str:
    offered = "; ".join(f"{other.name} with {other.wants}" for other in left[:4])
    more = f" and {len(left) - 4} more" if len(left) > 4 else ""
    return (
        f"{layer.name}: wanted {layer.wants}; of the file "
        f"{offered + more if left else 'nothing'} is left"
    )


def _names(layers: list[LayerTensors]) -> str:
    return " and ".join(layer.name for layer in layers[:4]) + (" …" if len(layers) > 4 else "")
