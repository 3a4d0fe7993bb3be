"""The moving average of a generator's weights, which is what a run keeps."""

from __future__ import annotations

import torch
from torch import nn


def warmed(decay: float, step: int) -> float:
    """Decay at a step: short memory at first, as the weights of the start should not linger."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * current (Karras et al. 2018, sec. 5).

    Weights and running statistics alike; integers, such as counts of batches, are copied.
    """
    kept, fresh = average.state_dict(), current.state_dict()
    floats = [name for name, tensor in kept.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([kept[n] for n in floats], [fresh[n] for n in floats], 1 - decay)
    for name in kept.keys() - set(floats):
        kept[name].copy_(fresh[name])
