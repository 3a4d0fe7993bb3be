"""A declared network walked once, from the latent to the image, before there is any of it.

Gives each layer the shape it meets, and the table of tensors that the network wants of a file.
Sizes are held to `limits` on the way, so a hostile description costs a few milliseconds. Imports
no torch.
"""

from __future__ import annotations

from math import prod

from models.declared.bounds import check_cost, check_counts, check_depth, check_together
from models.declared.document import DeclaredOptions, EmbeddingInput, Input, Join, Latent
from models.declared.labels import Digit, digits_of
from models.declared.layers import AnyLayer, ConvTranspose, Parallel, Residual
from models.declared.nodes import InputNode, Node, Slot, Trace
from models.declared.shapes import MisfitError, Shape, effect
from models.errors import SpecError
from models.spec import ImageShape


def trace(options: DeclaredOptions, image: ImageShape, latent_size: int, class_count: int) -> Trace:
    """Walk the network; a SpecError names the layer, what was found and what is wanted."""
    walk = _Walk(digits_of(options.conditions, class_count), latent_size)
    inputs, shape = walk.join(options.inputs, options.merge, "inputs", 1)
    walk.check_all_used()
    layers = walk.layers(options.layers, shape, "layers", 0)
    last = layers[-1].shape if layers else shape
    _check_image(last, image, options.output)
    walk.found.inputs, walk.found.layers = inputs, layers
    if not walk.found.parameters:
        raise SpecError("declared network: no layer has weights, so there is nothing to import")
    return walk.found


def _check_image(found: Shape, image: ImageShape, layout: str) -> None:
    height, width, channels = image.height, image.width, image.channels
    axes = (height, width, channels) if layout.endswith("hwc") else (channels, height, width)
    wanted = (prod(axes),) if layout.startswith("flat") else axes
    if found != wanted:
        raise SpecError(
            f"declared network: the last layer gives {list(found)} where an image of {height} x "
            f"{width} x {channels} as {layout} is {list(wanted)}; check strides and paddings, "
            '"output", or "image"'
        )


class _Walk:
    """The state of one walk: what was found up to here."""

    def __init__(self, digits: dict[str, Digit], latent_size: int) -> None:
        self.found = Trace()
        self._digits = digits
        self._latent_size = latent_size
        self._used: set[str] = set()

    def check_all_used(self) -> None:
        """A latent or a condition that nothing reads would change no image."""
        free = [f"condition {name}" for name, each in self._digits.items() if each.fixed is None]
        for name in ("the latent", *free):
            if name not in self._used:
                raise SpecError(f"declared network: inputs: {name} is in none of them")

    def join(
        self, inputs: tuple[Input, ...], merge: str, path: str, depth: int
    ) -> tuple[tuple[InputNode, ...], Shape]:
        """The inputs at their places, and the shape of what they become together."""
        check_depth(path, depth)
        nodes = tuple(self._input(each, f"{path}.{i}", depth) for i, each in enumerate(inputs))
        return nodes, _merged(path, [node.shape for node in nodes], merge)

    def _input(self, each: Input, path: str, depth: int) -> InputNode:
        digit: Digit | None = None
        inputs: tuple[InputNode, ...] = ()
        shape: Shape = (self._latent_size,)
        if isinstance(each, Join):
            inputs, shape = self.join(each.inputs, each.merge, f"{path}.inputs", depth + 1)
        elif isinstance(each, Latent):
            self._used.add("the latent")
        else:
            digit = self._digit(each.of, path)
            shape = (digit.rows,)
        if isinstance(each, EmbeddingInput) and digit is not None:
            self._add(path, {"weight": (digit.rows, each.width)})
            shape = (each.width,)
        layers = self.layers(each.layers, shape, f"{path}.layers", depth)
        return InputNode(path, each, layers[-1].shape if layers else shape, layers, digit, inputs)

    def _digit(self, name: str | None, path: str) -> Digit:
        if name is None and len(self._digits) == 1:
            name = next(iter(self._digits))
        if name not in self._digits:
            known = ", ".join(self._digits) or "none: the spec has no classes"
            raise SpecError(f'declared network: {path}: "of" is {name!r}; conditions are {known}')
        self._used.add(f"condition {name}")
        return self._digits[name]

    def layers(
        self, layers: tuple[AnyLayer, ...], shape: Shape, path: str, depth: int
    ) -> tuple[Node, ...]:
        """The layers at their places, each behind the one before."""
        check_depth(path, depth)
        nodes: list[Node] = []
        for i, layer in enumerate(layers):
            nodes.append(self._layer(layer, shape, f"{path}.{i}", depth))
            shape = nodes[-1].shape
        return tuple(nodes)

    def _layer(self, layer: AnyLayer, shape: Shape, path: str, depth: int) -> Node:
        self.found.layer_count += 1
        check_counts(path, self.found)
        if isinstance(layer, Residual):
            ways = {"layers": layer.layers, "shortcut": layer.shortcut}
            return self._ways(layer, ways, "add", shape, path, depth)
        if isinstance(layer, Parallel):
            ways = {f"branches.{i}": branch for i, branch in enumerate(layer.branches)}
            return self._ways(layer, ways, layer.merge, shape, path, depth)
        try:
            found = effect(layer, shape)
        except MisfitError as error:
            raise SpecError(f"declared network: {path} ({layer.type}): {error}") from error
        self._add(path, found.tensors, transposed=isinstance(layer, ConvTranspose))
        self.found.operations += found.operations
        check_cost(path, found, self.found)
        return Node(path, layer, shape, found.shape)

    def _ways(
        self,
        layer: Residual | Parallel,
        ways: dict[str, tuple[AnyLayer, ...]],
        merge: str,
        shape: Shape,
        path: str,
        depth: int,
    ) -> Node:
        parts = tuple(
            self.layers(way, shape, f"{path}.{name}", depth + 1) for name, way in ways.items()
        )
        shapes = [part[-1].shape if part else shape for part in parts]
        return Node(path, layer, shape, _merged(path, shapes, merge), parts)

    def _add(self, path: str, tensors: dict[str, Shape], transposed: bool = False) -> None:
        for name, shape in tensors.items():
            integer = name == "num_batches_tracked"
            self.found.tensors[f"{path}.{name}"] = Slot(shape, integer, transposed)
            self.found.parameters += prod(shape)
        check_counts(path, self.found)


def _merged(path: str, shapes: list[Shape], merge: str) -> Shape:
    check_together(path, shapes)
    first = shapes[0]
    free = 1 if merge == "concat" else 0
    for i, shape in enumerate(shapes):
        if len(shape) != len(first) or shape[free:] != first[free:]:
            raise SpecError(
                f"declared network: {path}: {merge} of {list(first)} and, from way {i}, "
                f"{list(shape)}; they must be equal" + (" behind the first axis" if free else "")
            )
    return (sum(shape[0] for shape in shapes), *first[1:]) if free else first
