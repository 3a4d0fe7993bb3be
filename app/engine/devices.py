"""Which device generators run on, and what its environment is called in a manifest."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Literal

import torch

from app.errors import ConfigurationError

DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(choice: DeviceChoice) -> torch.device:
    """The device of a worker. Raises ConfigurationError when the one asked for is not there."""
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if choice == "auto":
        return torch.device(next(name for name, there in present.items() if there))
    if not present[choice]:
        raise ConfigurationError(
            f"SYNTHLOOM_DEVICE={choice}, but torch finds no such device on this machine. "
            'Set it to "auto" or "cpu", or install the driver and the torch build for it.'
        )
    return torch.device(choice)


def share_cores(streams: int) -> int:
    """Let batches run at the same time on the CPU, each with an equal share of its cores.

    Threads that share one batch wait for each other after every layer, and burn their core
    meanwhile; for small networks that costs more than it gives. Returns the number of streams: the
    one asked for, or that of the cores where it is smaller.
    """
    cores = torch.get_num_threads()
    streams = min(streams, cores)
    torch.set_num_threads(cores // streams)
    return streams


def device_name(device: torch.device) -> str:
    """Marketing name of a device, e.g. of the GPU, for people."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine()


def empty_cache(device: torch.device) -> None:
    """Give memory that torch keeps for later tensors back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def joined(environments: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The environment of something that several devices made: where they differ, all values."""
    return {
        name: " + ".join(dict.fromkeys(made[name] for made in environments))
        for name in environments[0]
    }


def environment(device: torch.device) -> dict[str, str]:
    """What pixels may depend on beside the plan: kept with every shard."""
    return {
        "device": device.type,
        "device_name": device_name(device),
        **versions(),
    }


def versions() -> dict[str, str]:
    """What pixels may depend on of a worker, whatever its device."""
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": version("torchvision"),
        "numpy": version("numpy"),
        "onnxruntime": version("onnxruntime"),
    }
