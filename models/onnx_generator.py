"""A generator whose network is an ONNX graph, computed by onnxruntime."""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import RuntimeMemoryError
from models.generator import Generator
from models.onnx_runner import Runner
from models.spec import ModelSpec


class OnnxGenerator(Generator):
    """The contract of every generator around an ONNX graph.

    Inputs and outputs are in the processor's memory; with CUDA the session copies them.
    """

    def __init__(self, spec: ModelSpec, content: bytes, device: torch.device) -> None:
        """Inspect and load an ONNX file's bytes; see `Runner`."""
        super().__init__(spec.image, spec.latent_size, len(spec.classes))
        self.family = spec.family
        self.value_range = spec.value_range
        cuda_device = (device.index or 0) if device.type == "cuda" else None
        self._runner = Runner(spec, content, torch.get_num_threads(), cuda_device)

    @property
    def device(self) -> torch.device:
        """Of inputs and outputs: the processor, wherever the session computes."""
        return torch.device("cpu")

    @property
    def resident_bytes(self) -> int:
        """Bytes of the graph's constants, which the session keeps."""
        return self._runner.parameter_bytes

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """float [N, latent_size], int64 [N] or None -> float32 [N, C, H, W] in `value_range`.

        Raises torch.OutOfMemoryError as torch does, so that a smaller batch is tried.
        """
        classes = None if labels is None else labels.cpu().numpy()
        try:
            images = self._runner.images(z.detach().cpu().numpy(), classes)
        except RuntimeMemoryError as error:
            raise torch.OutOfMemoryError(str(error)) from error
        return torch.from_numpy(images)
