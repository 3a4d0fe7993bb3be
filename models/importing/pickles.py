"""Pickles read by a machine that can import and call nothing; all that goes wrong is a refusal."""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Final

from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.globals import named
from models.importing.machine import Machine, Persistent

STEPS: Final = 1_000_000
"""Opcodes of all pickles of a file; a state dict has about 30 a tensor."""


class Budget:
    """Steps that are left, over all pickles of one file."""

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise UnsupportedCheckpointError(Kind.TOO_COMPLEX, "its pickle has millions of steps")


def read_pickle(stream: BinaryIO, budget: Budget, persistent: Persistent | None = None) -> Any:
    """The value of the pickle that starts at `stream`'s position, which is left behind its end."""
    machine = Machine(persistent)
    opcodes = pickletools.genops(stream)
    try:
        for opcode, argument, _ in opcodes:
            budget.spend()
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except UnsupportedCheckpointError as error:
        raise _sharpened(error, opcodes, budget) from error
    except RecursionError as error:
        raise UnsupportedCheckpointError(Kind.TOO_COMPLEX, "it is nested deeply") from error
    except (ValueError, IndexError, KeyError, struct.error, OverflowError, TypeError) as error:
        raise UnsupportedCheckpointError(
            Kind.DAMAGED, "its pickle ends or changes in the middle"
        ) from error
    raise UnsupportedCheckpointError(Kind.DAMAGED, "its pickle has no end")


def _sharpened(
    error: UnsupportedCheckpointError, opcodes: Iterator[Any], budget: Budget
) -> UnsupportedCheckpointError:
    """The same refusal, or a graver one that a name further on calls for. It grants nothing."""
    rank = {Kind.FOREIGN_OBJECTS: 1, Kind.PICKLED_MODULE: 2, Kind.UNSAFE_PICKLE: 3}
    gravest, words = error, ["", ""]
    if error.kind not in rank:
        return error
    with suppress(ValueError, KeyError, struct.error, OverflowError, UnsupportedCheckpointError):
        for opcode, argument, _ in opcodes:
            budget.spend()
            if opcode.name in ("GLOBAL", "INST"):
                words = list(argument.partition(" ")[::2])
            elif isinstance(argument, str):
                words = [words[1], argument]
                continue
            if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                found = _refusal_of(*words)
                if found and rank.get(found.kind, 0) > rank[gravest.kind]:
                    gravest = found
    return gravest


def _refusal_of(module: str, name: str) -> UnsupportedCheckpointError | None:
    try:
        named(module, name)
    except UnsupportedCheckpointError as error:
        return error
    return None
