"""Tables in the documents that follow from the code. `python -m tests.documents` writes them anew,
with the documents that follow from it as a whole; a test compares them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import JsonValue
from pydantic_core import PydanticUndefined

from app.settings import Settings
from models.spec import ModelSpec
from models.zoo.catalogue import shipped

ROOT = Path(__file__).parents[1]
NOT_MEASURED = "not measured"


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = tuple(columns)
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def models_table() -> str:
    """The shipped generators and their published figures."""
    columns = ("model", "architecture", "weights", "agreement", "train on synthetic", "of real")
    return table(columns, [_model_row(spec) for _, spec in shipped()])


def _model_row(spec: ModelSpec) -> tuple[str, ...]:
    figures = spec.figures
    agreement = "takes no label" if not spec.conditional else _share(figures, "label_agreement")
    return (
        f"[`{spec.name}`](models/zoo/{spec.name}/card.md)",
        f"`{spec.architecture}`",
        f"{spec.weights.bytes / (1 << 20):.2f} MiB",
        agreement,
        _share(figures, "utility"),
        _share(figures, "utility_of_real"),
    )


def _share(figures: Mapping[str, JsonValue], name: str) -> str:
    value = figures.get(name)
    return f"{value:.4f}" if isinstance(value, float) else NOT_MEASURED


def settings_table() -> str:
    """Every setting with its default and its meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        default = field.default
        shown = "of the machine" if default is PydanticUndefined else f"`{default}`"
        shown = "none" if default in (None, "") else shown
        rows.append((f"`SYNTHLOOM_{name.upper()}`", shown, meaning))
    return table(("variable", "default", "meaning"), rows)


TABLES: Mapping[tuple[str, str], Callable[[], str]] = {
    ("README.md", "models"): models_table,
    ("docs/operations.md", "settings"): settings_table,
}


def written(document: str, name: str) -> str:
    """The table as it stands in a document of this repository."""
    found = _place(name).search((ROOT / document).read_text())
    if found is None:
        raise LookupError(f"{document} has no place for {name}")
    return found.group(2).strip()


def _place(name: str) -> re.Pattern[str]:
    begin, end = f"<!-- made from the code: {name} -->\n", f"<!-- end of {name} -->"
    return re.compile(f"({re.escape(begin)})(.*?)({re.escape(end)})", re.DOTALL)


def write_all() -> None:
    """Put every table into its document."""
    for (document, name), render in TABLES.items():
        path = ROOT / document
        text = render()
        path.write_text(_place(name).sub(lambda m, t=text: f"{m[1]}{t}\n{m[3]}", path.read_text()))
