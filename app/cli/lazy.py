"""Commands that are imported when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command, get_group


class Lazy(MutableMapping[str, Any]):
    """Name → command, as a group of Typer keeps them; what is not there yet is imported.

    Built from name → `module:attribute`, a function or a `typer.Typer` of commands.
    """

    def __init__(self, places: dict[str, str]) -> None:
        self._places = dict(places)
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._commands:
            self._commands[name] = _command(name, self._places[name])
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._places[name] = ""
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._commands.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _command(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group: Any = get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return get_command(alone)
