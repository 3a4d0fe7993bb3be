"""Activations that a description may name, as data. Names and defaults of `torch.nn`. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat

from models.spec import Frozen

Real = Annotated[StrictFloat, Field(ge=-1e6, le=1e6)]


class Plain(Frozen):
    """Activations and layers without options."""

    type: Literal[
        "relu", "relu6", "selu", "silu", "mish", "sigmoid", "tanh", "softsign",
        "hardsigmoid", "hardswish", "identity", "flatten",
    ]  # fmt: skip


class LeakyReLU(Frozen):
    """x where positive, else slope * x."""

    type: Literal["leaky_relu"]
    slope: Real = 0.01


class PReLU(Frozen):
    """Leaky, with slopes from the file: one for all, or one a channel."""

    type: Literal["prelu"]
    per_channel: StrictBool = False


class Elu(Frozen):
    """x where positive, else alpha * (exp(x) - 1); celu: exp(x / alpha)."""

    type: Literal["elu", "celu"]
    alpha: Annotated[StrictFloat, Field(gt=0, le=1e6)] = 1.0


class Gelu(Frozen):
    """Gaussian error linear unit, exact or by tanh."""

    type: Literal["gelu"]
    approximate: Literal["none", "tanh"] = "none"


class Softplus(Frozen):
    """log(1 + exp(beta * x)) / beta; x itself above `threshold`."""

    type: Literal["softplus"]
    beta: Annotated[StrictFloat, Field(gt=0, le=1e6)] = 1.0
    threshold: Real = 20.0


class Clamp(Frozen):
    """Values below `low` and above `high` become them (Hardtanh)."""

    type: Literal["clamp"]
    low: Real = -1.0
    high: Real = 1.0
