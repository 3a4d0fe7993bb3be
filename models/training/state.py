"""The whole state of a run in one safetensors file, so that it resumes to the bit. No pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as dump_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from models.errors import TrainingError
from models.training.pair import Pair


class Progress(NamedTuple):
    """How far a run has come: steps done, and seconds of work."""

    step: int
    seconds: float


class Notes(NamedTuple):
    """What a state says beside its tensors.

    rate_factor: of the step sizes, below 1 after a divergence.
    plan: steps over which step sizes fall.
    watch: means of the losses (`Watch.dump`).
    """

    seed: int
    progress: Progress
    rate_factor: float
    plan: int
    watch: str

    def as_text(self) -> dict[str, str]:
        """For the file's metadata; floats come back to the bit."""
        return {
            "seed": str(self.seed),
            "step": str(self.progress.step),
            "seconds": repr(self.progress.seconds),
            "rate_factor": repr(self.rate_factor),
            "plan": str(self.plan),
            "watch": self.watch,
        }


def dump_state(pair: Pair, average: nn.Module, notes: Notes) -> bytes:
    """Networks, average, optimizers and loss scales as a safetensors file."""
    tensors = {
        **_prefixed("generator", pair.generator.state_dict()),
        **_prefixed("partner", pair.partner.state_dict()),
        **_prefixed("average", average.state_dict()),
        **_prefixed("scale", pair.scales()),
    }
    for name, optimizer in pair.optimizers.items():
        tensors |= _prefixed(f"adam.{name}", _moments(optimizer))
    return dump_tensors(_owned(tensors), notes.as_text())


def load_state(path: Path, seed: int, pair: Pair, average: nn.Module) -> Notes:
    """Put what `dump_state` gave back into the same networks and optimizers.

    Another seed is refused: the record of the run could name only one of the two.
    """
    try:
        with safe_open(path, "pt") as file:
            notes = _notes(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
        if notes.seed != seed:
            raise TrainingError(f"this run has seed {notes.seed}; go on with that, not {seed}")
        pair.generator.load_state_dict(_under("generator", tensors))
        pair.partner.load_state_dict(_under("partner", tensors))
        average.load_state_dict(_under("average", tensors))
        for name, optimizer in pair.optimizers.items():
            _restore_moments(optimizer, _under(f"adam.{name}", tensors))
        pair.restore_scales(_under("scale", tensors))
    except (OSError, SafetensorError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise TrainingError(
            f"{path.name} does not continue this run ({error}); start it in another folder"
        ) from error
    return notes


def _notes(text: Mapping[str, str]) -> Notes:
    progress = Progress(int(text["step"]), float(text["seconds"]))
    factor, plan = float(text["rate_factor"]), int(text["plan"])
    return Notes(int(text["seed"]), progress, factor, plan, text["watch"])


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def _owned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """Adam's step count and two moments of each parameter, as "index.field"."""
    per_parameter = optimizer.state_dict()["state"]
    return {
        f"{index}.{field}": torch.as_tensor(value)
        for index, fields in per_parameter.items()
        for field, value in fields.items()
    }


def _restore_moments(optimizer: Optimizer, moments: Mapping[str, Tensor]) -> None:
    document = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    per_parameter: dict[int, dict[str, Tensor]] = {}
    for name, tensor in moments.items():
        index, field = name.split(".", 1)
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:
            # Fused Adam walks memory, so a moment must lie in it as its parameter does.
            tensor = torch.empty_like(parameter).copy_(tensor)
        per_parameter.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({**document, "state": per_parameter})
