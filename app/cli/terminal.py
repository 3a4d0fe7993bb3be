"""What commands write: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NARROWEST_PIPE = 200
"""Columns of a table that goes to a file or another program, which must not be cut."""


def stdout() -> Console:
    """Where results go."""
    return _console(stderr=False)


def stderr() -> Console:
    """Where progress and errors go."""
    return _console(stderr=True)


def say(sentence: str) -> None:
    """A line about what happens, on stderr."""
    stderr().print(plain(sentence), soft_wrap=True)


def fail(sentence: str) -> None:
    """The one sentence of an error, on stderr."""
    text = Text.assemble(("Error: ", "bold red"), plain(sentence))
    stderr().print(text, soft_wrap=True)


def print_json(document: Mapping[str, Any] | list[Any]) -> None:
    """One JSON document, nothing else."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(
    columns: Iterable[str], rows: Iterable[Iterable[object]], last_is_total: bool = False
) -> None:
    """Text to the left, whole numbers to the right with thousands marked."""
    cells = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for position, column in enumerate(columns):
        numbers = bool(cells) and all(isinstance(row[position], int) for row in cells)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for number, row in enumerate(cells):
        if last_is_total and number == len(cells) - 1:
            table.add_section()
        table.add_row(*(plain(_cell(value)) for value in row))
    console = stdout()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    sys.stdout.write("\n".join(lines) + "\n")


def plain(text: str) -> Text:
    """Names and sentences from elsewhere: no markup, no control sequences."""
    return Text(
        "".join(character if character.isprintable() else "�" for character in text),
        overflow="fold",
    )


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, NARROWEST_PIPE)
    return console
