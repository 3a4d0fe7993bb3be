"""One device of a worker: the models resident on it, and the batcher in front of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from app.engine.batcher import Batcher, Run
from app.engine.devices import empty_cache, environment
from app.engine.residents import Residents
from models.generator import Generator

LoadOnto = Callable[[str, torch.device], Generator]
"""From the SHA-256 of a model and a device to its generator there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a device keeps, and how long it waits."""

    resident_bytes: int
    linger_seconds: float
    most_waiting: int
    cpu_streams: int = 1
    """Batches that run at the same time, where the device is the CPU."""


class Place:
    """A device with threads of its own. Close it at the end."""

    def __init__(self, device: torch.device, load: LoadOnto, run: Run, limits: Limits) -> None:
        self.device = device
        self.environment = environment(device)
        self.residents = Residents(
            lambda sha256: load(sha256, device),
            limits.resident_bytes,
            partial(empty_cache, device),
        )
        self.batcher = Batcher(
            run,
            linger_seconds=limits.linger_seconds,
            most_waiting=limits.most_waiting,
            streams=limits.cpu_streams if device.type == "cpu" else 1,
        )
