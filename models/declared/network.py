"""The network that a description declares: plain modules of torch in plain sequences."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from torch import Tensor, nn

from models.declared.building import make
from models.declared.document import DeclaredOptions, EmbeddingInput, Join, Latent
from models.declared.layers import Parallel, Residual
from models.declared.modules import ConditionInput, JoinInput, LatentInput
from models.declared.modules import Join as JoinModule
from models.declared.modules import Parallel as ParallelModule
from models.declared.modules import Residual as ResidualModule
from models.declared.nodes import InputNode, Node
from models.declared.walk import trace
from models.generator import Generator
from models.spec import ImageShape


class DeclaredGenerator(Generator):
    """A generator made from data. Family and value range are those of its spec.

    Tensors are named by the path of their layer, as in `layers.5.branches.0.1.weight`.
    """

    def __init__(
        self, image: ImageShape, latent_size: int, class_count: int, options: DeclaredOptions
    ) -> None:
        super().__init__(image, latent_size, class_count)
        found = trace(options, image, latent_size, class_count)
        self.inputs = JoinModule([_input(node) for node in found.inputs], options.merge)
        self.layers = _sequence(found.layers)
        self.layout = options.output

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        x: Tensor = self.layers(self.inputs(z, labels))
        if self.layout == "chw":
            return x  # [N, C, H, W]
        image = self.image
        if self.layout == "flat_chw":
            return x.reshape(-1, image.channels, image.height, image.width)
        return x.reshape(-1, image.height, image.width, image.channels).permute(0, 3, 1, 2)


def _input(node: InputNode) -> nn.Module:
    layers = _sequence(node.layers) if node.layers else None
    if isinstance(node.input, Join):
        children = [_input(child) for child in node.inputs]
        return JoinInput(JoinModule(children, node.input.merge), layers)
    if isinstance(node.input, Latent):
        return LatentInput(node.input.uniform, layers)
    assert node.digit is not None, "a condition without a digit passed the walk"
    width = node.input.width if isinstance(node.input, EmbeddingInput) else None
    return ConditionInput(node.digit, width, layers)


def _sequence(nodes: Iterable[Node]) -> nn.Sequential:
    """Layers that do nothing are left out; the others keep their numbers."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    fresh = False
    for i, node in enumerate(nodes):
        module = _merging(node) or make(node.layer, node, fresh)
        if module is not None:
            modules[str(i)] = module
            # What a layer with weights has just computed nobody else holds: it may be overwritten.
            fresh = isinstance(module, OVERWRITABLE)
    return nn.Sequential(modules)


OVERWRITABLE = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm1d, nn.BatchNorm2d)


def _merging(node: Node) -> nn.Module | None:
    parts = [_sequence(part) for part in node.parts]
    if isinstance(node.layer, Residual):
        return ResidualModule(*parts)
    if isinstance(node.layer, Parallel):
        return ParallelModule(parts, node.layer.merge)
    return None
