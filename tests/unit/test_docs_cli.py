"""docs/cli.md knows every command and every option, and the exit codes are those of the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.cli.failures import ExitCode
from app.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands(command: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every command that can be run, with the names of its options."""
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}".strip())
    if not hasattr(command, "commands"):
        shown = [option for option in command.params if not getattr(option, "hidden", False)]
        yield path, [name for option in shown for name in option.opts if name.startswith("-")]


COMMANDS = dict(commands(get_command(app)))


def test_the_walk_finds_the_commands() -> None:
    assert {"generate", "jobs download", "models list", "serve"} <= set(COMMANDS)
    assert "--keep-archive" in COMMANDS["generate"]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_is_on_the_page(command: str) -> None:
    assert [word for word in command.split() if f"`{word}" not in PAGE] == []
    missing = [option for option in COMMANDS[command] if option not in PAGE]
    assert missing == []


def test_every_exit_code_is_on_the_page() -> None:
    table = re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)
    assert [int(code) for code in table] == [int(code) for code in ExitCode]
