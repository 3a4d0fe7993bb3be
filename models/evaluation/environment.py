"""What an evaluation was computed with."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Final

import torch

LIBRARIES: Final = (
    "synthloom", "torch", "torchvision", "torchmetrics", "scikit-learn", "scipy", "numpy",
)  # fmt: skip


def environment() -> dict[str, str]:
    """Versions, the kind of machine, and how many threads compute."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": str(torch.get_num_threads()),
    }


def use_threads(count: int) -> None:
    """So many processor threads compute from now on, in this process."""
    torch.set_num_threads(count)
