"""Which device a run computes on, chosen once and said by name."""

from __future__ import annotations

import torch

from models.errors import TrainingError


def resolve(name: str) -> torch.device:
    """ "auto" is CUDA, then MPS, then the processor; any other is taken or refused."""
    available = _available()
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise TrainingError(f"device {name!r} is not here; take one of: {', '.join(available)}")
    return torch.device(name)


def _available() -> list[str]:
    """The best first."""
    found = ["cuda"] if torch.cuda.is_available() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]
