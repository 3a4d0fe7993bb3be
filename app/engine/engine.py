"""Batched inference on one device."""

from __future__ import annotations

import threading
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from app.engine.devices import environment
from app.engine.residents import Loader, Residents
from app.errors import ModelCorruptError, ModelUnusableError
from models.errors import CheckpointError, ModelError
from models.generator import Pixels, sample

_T = TypeVar("_T", bound=np.generic)


class Engine:
    """The device of a worker and the models resident on it.

    Every batch is padded to the plan's size: shapes stay static, and the pixels of a sample do
    not depend on how many others were asked for with it.
    """

    def __init__(self, device: torch.device, load: Loader, resident_bytes: int) -> None:
        self.device = device
        self.environment = environment(device)
        self._residents = Residents(load, resident_bytes)
        # One batch at a time: two at once would only share the device's cores and memory.
        self._device_lock = threading.Lock()

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Pixels:
        """Images of one batch of at most `batch` latents.

        model: SHA-256 of a registered model.
        z: float32 [n, latent_size]; labels: int64 [n], or None for a model that takes none.
        Returns uint8 [n, H, W, C] and finite bool [n].
        """
        count = len(z)
        if not 0 < count <= batch:
            raise ValueError(f"{count} latents for a batch of {batch}")
        padded = _padded(z, batch)
        conditions = None if labels is None else _padded(labels, batch)
        try:
            with self._residents.use(model) as generator, self._device_lock:
                made = sample(generator, padded, conditions)
        except CheckpointError as error:
            raise ModelCorruptError(
                f"The checkpoint of model {model[:12]}… can't be used: {error}. Register it "
                "again, then submit the job again."
            ) from error
        except ModelError as error:
            raise ModelUnusableError(f"The generator can't do this: {error}.") from error
        return Pixels(made.pixels[:count], made.finite[:count])

    def latent_size(self, model: str) -> int:
        """Length of one latent of a model; loads the model."""
        try:
            with self._residents.use(model) as generator:
                return generator.latent_size
        except CheckpointError as error:
            raise ModelCorruptError(
                f"The checkpoint of model {model[:12]}… can't be used: {error}. Register it "
                "again, then submit the job again."
            ) from error


def _padded(values: NDArray[_T], size: int) -> NDArray[_T]:
    missing = size - len(values)
    if not missing:
        return values
    return np.concatenate([values, np.repeat(values[:1], missing, axis=0)])
