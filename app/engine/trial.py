"""Try a model that is not registered yet, beside those that are resident."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import torch

from app.errors import ModelSpecError, UnavailableError
from models.checkpoint import load
from models.errors import ModelError
from models.probing.probe import Probed, probe
from models.spec import ModelSpec


class Trials:
    """One trial at a time: somebody else's model must not take the memory of two."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._one = threading.Lock()

    def run(self, spec: ModelSpec, weights: Path) -> Probed:
        """Load, draw, measure, and free again.

        Raises ModelSpecError where the weights do not fit the spec or the network can't be run,
        UnavailableError where the device has no room.
        """
        with self._one:
            try:
                return probe(load(spec, weights, self._device), spec)
            except ModelError as error:
                raise ModelSpecError(f"The model can't be run: {error}.") from error
            except torch.OutOfMemoryError as error:
                raise UnavailableError(
                    "The worker's device has no room to try this model now. Try again when fewer "
                    "models are in use.",
                    retry_after_seconds=30,
                ) from error
            finally:
                gc.collect()
                if self._device.type == "cuda":
                    torch.cuda.empty_cache()
