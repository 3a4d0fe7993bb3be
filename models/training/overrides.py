"""How options of a recipe are read from what people write. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from pydantic import JsonValue

LOSS_ALIASES: Mapping[str, str] = MappingProxyType(
    {"bce": "logistic", "wgan-gp": "wasserstein", "wgan_gp": "wasserstein"}
)
"""Other names of the losses."""

LOSS_OPTIONS: Mapping[str, Mapping[str, JsonValue]] = MappingProxyType(
    {
        "wasserstein": MappingProxyType(
            {"gradient_penalty": 10.0, "critic_steps": 5, "discriminator_norm": "layer"}
        )
    }
)
"""What a loss brings with it: of Wasserstein, that of Gulrajani et al. 2017, sec. 4."""


def renamed(aliases: Mapping[str, str]) -> Callable[[object], object]:
    """A reader that takes other names for the known ones."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        lower = value.strip().lower()
        return aliases.get(lower, lower)

    return read


def listed(value: object) -> object:
    """Text with commas as a list; "none" and nothing as the empty one."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    return [] if parts == ["none"] else parts


def loss_options(current: str, overrides: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """What the loss that `overrides` names brings with it, if it is another than `current`."""
    loss = renamed(LOSS_ALIASES)(overrides.get("loss", current))
    return LOSS_OPTIONS.get(str(loss), {}) if loss != current else {}


def unknown_option(name: str, known: Sequence[str]) -> str:
    """The sentence about an option that does not exist."""
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"options are {', '.join(known)}"
    return f"a recipe has no option {name!r}; {hint}"
