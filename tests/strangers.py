"""Checkpoints as strangers make them, by networks written by hand; and the spec of each."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch
from safetensors.torch import save as dump_tensors
from torch import Tensor, nn

SIDE, LATENT, CLASSES = 12, 6, 3


class Decoder(nn.Module):
    """One-hot label behind the latent, two linear layers: smooth images that depend on both."""

    def __init__(self) -> None:
        super().__init__()
        self.fc3 = nn.Linear(LATENT + CLASSES, 40)
        self.fc4 = nn.Linear(40, SIDE * SIDE)
        stream = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for layer in (self.fc3, self.fc4):
                layer.weight.normal_(generator=stream)
                layer.bias.normal_(generator=stream)
            # Neighbouring pixels share most of their weights, so images are smooth.
            grid = self.fc4.weight.view(SIDE, SIDE, 40)
            ramp = torch.linspace(0, 1, SIDE)
            low = torch.randn(4, 40, generator=stream)
            grid.copy_(
                low[0]
                + 2 * torch.sin(3 * ramp[:, None, None]) * low[1]
                + 2 * torch.cos(3 * ramp[None, :, None]) * low[2]
            )
            self.fc4.bias.zero_()

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """float [N, LATENT], int64 [N] -> float [N, 1, SIDE, SIDE] in (0, 1)."""
        joined = torch.cat([z, nn.functional.one_hot(labels, CLASSES).float()], 1)
        flat = torch.sigmoid(0.1 * self.fc4(torch.relu(self.fc3(joined))))
        return flat.view(-1, 1, SIDE, SIDE)


def spec_of_decoder(**changes: Any) -> dict[str, Any]:
    """The import spec of `Decoder`; its gain of 0.1 is in the weights that `state` gives."""
    return {
        "name": "decoder",
        "family": "vae",
        "licence": "MIT",
        "image": {"height": SIDE, "width": SIDE, "channels": 1},
        "latent_size": LATENT,
        "classes": ["ant", "bee", "cat"],
        "value_range": [0, 1],
        "options": {
            "inputs": ["latent", "one_hot"],
            "layers": [
                {"type": "linear", "out": 40},
                "relu",
                {"type": "linear", "out": SIDE * SIDE},
                "sigmoid",
            ],
            "output": "flat_chw",
        },
        "tensors": {"names": {"layers.0": "fc3", "layers.2": "fc4"}},
    } | changes


def state(shift: float = 0.0) -> dict[str, Tensor]:
    """The tensors of a decoder, the gain before its sigmoid folded in.

    shift: added to one bias, for a model that is another one.
    """
    tensors = dict(Decoder().state_dict())
    folded = {name: 0.1 * tensors[name] for name in ("fc4.weight", "fc4.bias")}
    return tensors | folded | {"fc3.bias": tensors["fc3.bias"] + shift}


def bare(tensors: dict[str, Tensor]) -> bytes:
    """`torch.save(state_dict)`."""
    return _saved(tensors)


def wrapped(tensors: dict[str, Tensor]) -> bytes:
    """With an optimizer and counters beside it."""
    return _saved({"epoch": 3, "netG": tensors, "loss": 0.5})


def legacy(tensors: dict[str, Tensor]) -> bytes:
    """As torch wrote files before 1.6."""
    return _saved(tensors, legacy=True)


def safetensors(tensors: dict[str, Tensor]) -> bytes:
    """A safetensors file."""
    return dump_tensors(tensors)


def onnx() -> bytes:
    """The decoder as an ONNX graph of any batch."""
    batch = torch.export.Dim("n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            Decoder().eval(),
            (torch.zeros(2, LATENT), torch.zeros(2, dtype=torch.int64)),
            input_names=["z", "label"],
            output_names=["image"],
            dynamic_shapes=({0: batch}, {0: batch}),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def _saved(document: Any, legacy: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(document, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()
