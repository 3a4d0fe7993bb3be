"""`synthloom augment`: carry out a recipe, once, however often it is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.augmented import Result, carry_out, what_is_there
from app.cli.connection import (
    DataOption,
    KeyOption,
    ServerOption,
    Whereabouts,
    connected,
    found,
)
from app.cli.failures import CommandError, ExitCode
from app.cli.progress import reporter
from app.cli.recipe_contents import OfPackage
from app.cli.recipe_summary import announce, write_summary
from app.cli.terminal import plain, print_json, print_table, say, stdout
from app.recipes.problems import RecipeError
from app.recipes.recipe import ReadRecipe, read_recipe


def augment(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="A YAML or JSON file: see docs/ci.md.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the results.")
    ],
    again: Annotated[
        bool, typer.Option("--again", help="Run it anew although nothing has changed.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only check the recipe; ask no service.")
    ] = False,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")
    ] = False,
) -> None:  # fmt: skip
    """Carry out a recipe: generate, download, verify, report; nothing when nothing has changed.

    Uses the service at --server, or the one that runs on this machine; without one, a service
    is started for the length of this command. Code 5 when the recipe's gate is not passed.
    """
    read = _read(recipe)
    if check:
        say(f"{recipe} is right.")
        return
    where = Whereabouts(server, data, api_key)
    result = _carried_out(where, read, _checked_folder(out), again)
    write_summary(result)
    announce(result)
    if as_json:
        print_json(_document(result))
    else:
        _show(result)
    if not result.passed:
        raise CommandError(f"Job {result.lock.job} failed: {result.lock.detail}", ExitCode.GATE)


def _carried_out(where: Whereabouts, read: ReadRecipe, folder: Path, again: bool) -> Result:
    with reporter() as shown:
        if not again and where.data is None and found(where) is None:
            # The service that would be started knows what is shipped: no need to ask it.
            there = what_is_there(OfPackage(), read, folder, shown)
            if there is not None:
                return there
        with connected(where, embed=True) as client:
            return carry_out(client, read, folder, shown, again)


def _read(path: Path) -> ReadRecipe:
    try:
        return read_recipe(path)
    except RecipeError as error:
        for line, one in zip(error.lines(), error.complaints, strict=True):
            say(line)
            _annotate(path, one.mark.line, one.mark.column, one.sentence)
        things = "one problem" if error.count == 1 else f"{error.count} problems"
        raise CommandError(f"{path} has {things}; nothing was run.", ExitCode.USAGE) from error
    except OSError as error:
        raise CommandError(
            f"The recipe {path} can't be read: {error.strerror}.", ExitCode.USAGE
        ) from error


def _annotate(path: Path, line: int, column: int, sentence: str) -> None:
    """On GitHub, show the complaint at its line: a workflow command, which stdout carries."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        text = "".join(character for character in sentence if character.isprintable())
        place = str(path).replace("%", "%25").replace(",", "%2C").replace(":", "%3A")
        say(f"::error file={place},line={line},col={column}::{text.replace('%', '%25')}")


def _checked_folder(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise CommandError(f"{out} is a file; name a folder.", ExitCode.USAGE)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{out} can't be made: {error.strerror}.", ExitCode.USAGE) from error
    return out


def _document(result: Result) -> dict[str, Any]:
    """What a program wants to know."""
    return {
        **result.lock.model_dump(mode="json"),
        "up_to_date": result.up_to_date,
        "fetched": list(result.fetched),
        "folder": str(result.folder),
        "verdict": result.verdict,
    }


def _show(result: Result) -> None:
    """What a person wants to know."""
    rows: list[tuple[str, int]] = list(result.lock.samples_per_class.items())
    total = ("total", sum(count for _, count in rows))
    if result.passed:
        print_table(("class", "delivered"), [*rows, total], last_is_total=True)
    if result.gate_rows():
        print_table(("gate", "value", "holds", "note"), result.gate_rows())
    for line in result.lines():
        stdout().print(plain(line), soft_wrap=True)
