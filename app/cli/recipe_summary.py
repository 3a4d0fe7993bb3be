"""What came of a recipe as Markdown: `summary.md`, and the summary of a step on GitHub.

GitHub shows no picture in a summary that is not on the web, so the one of the folder names the
contact sheet as a file beside it, and that of the step says where it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.cli.augmented import Result

SUMMARY = "summary.md"
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
STEP_OUTPUT = "GITHUB_OUTPUT"
SHEET = "contact-sheet.png"
MOST_CLASSES = 1_000
"""Rows of a table: a summary on GitHub may have one MiB."""


def report_in(folder: Path) -> dict[str, Any]:
    """The report that lies in a folder; empty where none can be read."""
    try:
        found = json.loads((folder / "report.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_summary(result: Result) -> None:
    """`summary.md` in the folder, and the summary of the step where there is one."""
    picture = f"![The first samples of each class]({SHEET})"
    (result.folder / SUMMARY).write_text(_markdown(result, picture), encoding="utf-8")
    step = os.environ.get(STEP_SUMMARY)
    if step:
        where = f"The contact sheet is `{SHEET}` in the folder `{result.folder.name}`."
        with Path(step).open("a", encoding="utf-8") as file:
            file.write(_markdown(result, where))


def announce(result: Result) -> None:
    """What later steps of a workflow can read, where there are any."""
    path = os.environ.get(STEP_OUTPUT)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(
                f"recipe-sha256={result.lock.recipe_sha256}\n"
                f"job={result.lock.job}\n"
                f"outcome={result.lock.outcome}\n"
                f"up-to-date={str(result.up_to_date).lower()}\n"
            )


def _markdown(result: Result, picture: str) -> str:
    lock = result.lock
    total = sum(lock.samples_per_class.values())
    if not result.passed:
        head = "The gate is not passed: no dataset"
    else:
        head = f"{total:,} samples, " + ("up to date" if result.up_to_date else "verified")
    parts = [f"## Synthloom: {head}"]
    parts += [_text(result.verdict)] if result.verdict else []
    parts += [picture] if SHEET in lock.files else []
    if result.gate_rows():
        parts.append(_table(("gate", "value", "holds", "note"), result.gate_rows()))
    parts.append(_table(("class", "asked", "delivered"), _class_rows(result)))
    figures = list(_figure_rows(result.report))
    if figures:
        parts.append(_table(("figure", "value", "95 % interval"), figures))
    parts.append(_table(("what", "SHA-256"), _hash_rows(result)))
    parts.append(f"Job `{lock.job}`, seed {lock.seed}.")
    return "\n\n".join(parts) + "\n"


def _class_rows(result: Result) -> list[tuple[str, ...]]:
    """Class, asked, delivered: a verified dataset has exactly what was asked for."""
    rows = list(result.lock.samples_per_class.items())
    shown: list[tuple[str, ...]] = [
        (name, f"{asked:,}", f"{asked if result.passed else 0:,}")
        for name, asked in rows[:MOST_CLASSES]
    ]
    left = len(rows) - len(shown)
    return [*shown, (f"and {left:,} more classes", "", "")] if left else shown


def _figure_rows(report: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for name, figure in (report.get("figures") or {}).items():
        if "/" in name or figure.get("value") is None:
            continue
        interval = figure.get("interval") or {}
        low, high = interval.get("low"), interval.get("high")
        shown = "" if low is None or high is None else f"{low:.4g} … {high:.4g}"
        yield name, f"{figure['value']:.4g}", shown


def _hash_rows(result: Result) -> list[tuple[str, str]]:
    lock = result.lock
    rows = [(f"recipe `{result.recipe.name}`", f"`{lock.recipe_sha256}`")]
    rows += [(name, f"`{sha256}`") for name, sha256 in lock.pinned.items()]
    rows += [
        (f"archive {form}", f"`{dataset.archive_sha256}`")
        for form, dataset in lock.datasets.items()
    ]
    return rows


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_text(cell) for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _text(text: str) -> str:
    """Names and sentences from elsewhere: one line, no markup but code of our own."""
    line = "".join(character if character.isprintable() else " " for character in text)
    for character in "\\|<[*_" if "`" not in line else "|<":
        line = line.replace(character, f"\\{character}")
    return line
