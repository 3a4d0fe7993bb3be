"""Networks of torchvision as feature extractors, with weights from a file of the user's."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Final, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import CheckpointError, InputError
from models.evaluation.features import Features, Pixels, in_batches, resized
from models.evaluation.findings import Backbone
from models.importing.errors import UnsupportedCheckpointError
from models.importing.limits import Limits
from models.importing.sandbox import convert
from models.spec import ImageShape

MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""Of ImageNet's channels in (0, 1): what torchvision's own weights expect."""

SIDES: Final = {"inception_v3": 299}
SIDE: Final = 224
BATCH: Final = 16
LIMITS: Final = Limits(file_bytes=4 << 30, seconds=120.0)


class TorchvisionFeatures:
    """The input of the last linear layer of a torchvision classifier.

    Grey images are repeated over three channels, the alpha channel is dropped, and everything is
    resized to the square that the network was trained on, without a crop.
    """

    def __init__(self, name: str, weights: Path) -> None:
        self.side = SIDES.get(name, SIDE)
        self.network, size = _network(name, weights)
        digest = hashlib.sha256(f"{name} {self.side} {MEAN} {DEVIATION} ".encode())
        digest.update(weights.read_bytes())
        self.backbone = Backbone(
            name=f"torchvision {name}",
            sha256=digest.hexdigest(),
            size=size,
            note=f"weights {weights.name}, images resized to {self.side}x{self.side}",
        )

    def features(self, images: Pixels) -> Features:
        return in_batches(images, self._forward, BATCH)

    def _forward(self, images: Tensor) -> Tensor:
        colour = images[:, :3].expand(-1, 3, -1, -1)
        shape = ImageShape(height=self.side, width=self.side, channels=3)
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
        return cast(Tensor, self.network((resized(colour, shape) - mean) / deviation))


def _network(name: str, weights: Path) -> tuple[nn.Module, int]:
    """The network without its last linear layer, and the length of what it gives."""
    state = _tensors(weights)
    last, _ = _last_linear(_empty(name, classes=1000))
    if f"{last}.weight" not in state:
        raise CheckpointError(
            f"{weights.name} has no tensor {last}.weight; it is not a state dict of {name}"
        )
    network = _empty(name, classes=len(state[f"{last}.weight"]))
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{weights.name} does not fit {name}: {str(error)[:500]}; name the network that the "
            "weights were saved from"
        ) from error
    last, layer = _last_linear(network)
    parent, _, child = last.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return network.eval(), layer.in_features


def _empty(name: str, classes: int) -> nn.Module:
    """The torchvision network of that name, without memory; nothing is downloaded."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise InputError(
            f"{name!r} is no classification network of torchvision; there are: {', '.join(known)}"
        )
    own = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    with torch.device("meta"):
        network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **own)
    if own:  # their weights were made for another scale of pixels, and they convert it themselves
        setattr(network, "transform_input", True)  # noqa: B010
    return network


def _last_linear(network: nn.Module) -> tuple[str, nn.Linear]:
    layers = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise InputError("this network has no linear layer whose input could be a feature vector")
    return layers[-1]


def _tensors(weights: Path) -> dict[str, Tensor]:
    """The tensors of a .pth, .pt or safetensors file, read in the sandbox."""
    with tempfile.TemporaryDirectory(prefix="backbone-") as folder:
        try:
            converted = convert(weights, Path(folder), LIMITS)
        except UnsupportedCheckpointError as error:
            raise CheckpointError(f"the weights {weights.name} cannot be read: {error}") from error
        if converted.report.non_finite:
            raise CheckpointError(f"the weights {weights.name} hold numbers that are not finite")
        return {name: tensor.clone() for name, tensor in load_file(converted.weights).items()}
