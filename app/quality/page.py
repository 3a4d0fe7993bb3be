"""A report for people: one HTML file that needs nothing else.

Pictures and plots are inside it, it loads nothing and runs no script, follows the reader's choice
of light or dark, and can be printed. What users named (classes, models, descriptions) is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.quality import charts
from app.quality.document import ModelPart, Report
from app.quality.known_figures import KNOWN
from app.quality.wording import classical, number, plain, points, share, span, value_of
from models.evaluation.estimate import FIDELITY, Figure
from models.evaluation.results import Evaluation

TEMPLATES = Path(__file__).parent / "templates"
MOST_SHEETS = 100


@dataclass(frozen=True, slots=True)
class Sheet:
    """A strip of samples of one class: PNG bytes, and how many images it shows."""

    name: str
    png: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a report shows beside its figures.

    sheets: one a class. of_evaluation: PNG bytes by the names of `Evaluation.pictures`.
    """

    sheets: Sequence[Sheet] = ()
    of_evaluation: Mapping[str, bytes] = field(default_factory=dict)


def render(report: Report, pictures: Pictures | None = None) -> str:
    """The HTML of a report."""
    shown = pictures or Pictures()
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            css=Markup((TEMPLATES / "report.css").read_text()),  # noqa: S704 - our own file
            **_figures(report),
            **_job(report, shown),
            **_evaluation(report.evaluation, shown),
            models=[_model(number, part) for number, part in enumerate(report.models)],
            **_cost(report),
        )
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Kept with its compiled templates: to compile them takes longer than a small job."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "classical": classical,
        "data_uri": _data_uri,
        "moment": _moment,
        "points": points,
        "share": share,
        "span": span,
    }
    return environment


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _figures(report: Report) -> dict[str, Any]:
    order = [*KNOWN, *report.figures]
    overall = [
        _row(name, report.figures[name])
        for name in sorted(report.figures, key=order.index)
        if "/" not in name
    ]
    held_out = report.evaluation.fidelity.held_out if report.evaluation else {}
    return {
        "overall": overall,
        "held_out": [_row(name, figure) for name, figure in held_out.items()],
        "by_class": _by_class(report.figures),
        "what_they_mean": [(n, k) for n, k in KNOWN.items() if n in report.figures],
    }


def _row(name: str, figure: Figure) -> dict[str, Any]:
    return {
        "title": KNOWN[name].title if name in KNOWN else name,
        "figure": figure,
        "value": value_of(name, figure.value),
        "interval": span(figure.interval, per_cent=name in KNOWN and KNOWN[name].share),
    }


def _by_class(figures: Mapping[str, Figure]) -> list[dict[str, Any]]:
    """Tables of figures of single classes: agreement by itself, those of fidelity together."""
    table: dict[str, dict[str, Figure]] = {}
    for full_name, figure in figures.items():
        name, separator, label = full_name.partition("/")
        if separator:
            table.setdefault(name, {})[label] = figure
    agreement = table.pop("label_agreement", {})
    tables = []
    if agreement:
        tables.append(_agreement_table(agreement))
    shown = [name for name in FIDELITY if name in table]
    if shown:
        tables.append(_fidelity_table({name: table[name] for name in shown}))
    return tables


def _agreement_table(agreement: Mapping[str, Figure]) -> dict[str, Any]:
    rows = [
        {
            "name": label,
            "cells": [
                _cell("label_agreement", figure),
                {"text": span(figure.interval, per_cent=True), "title": ""},
                {"text": f"{figure.synthetic:,}", "title": ""},
            ],
            "percent": round(100 * (figure.value or 0.0), 1),
        }
        for label, figure in agreement.items()
    ]
    titles = ["label agreement", "interval", "samples"]
    caption = "Label agreement by class."
    return {"caption": caption, "titles": titles, "rows": rows, "bars": "agreement"}


def _fidelity_table(table: Mapping[str, Mapping[str, Figure]]) -> dict[str, Any]:
    labels = list(dict.fromkeys(label for row in table.values() for label in row))
    rows = [
        {"name": label, "cells": [_cell(name, row.get(label)) for name, row in table.items()]}
        for label in labels
    ]
    titles = [KNOWN[name].title for name in table]
    caption = "Fidelity and diversity by class; – was not measured, its reason shows on pointing."
    return {"caption": caption, "titles": titles, "rows": rows, "bars": ""}


def _cell(name: str, figure: Figure | None) -> dict[str, str]:
    if figure is None:
        return {"text": "", "title": ""}
    if figure.value is None:
        return {"text": "–", "title": figure.reason or ""}
    interval = span(figure.interval, per_cent=KNOWN[name].share)
    return {"text": value_of(name, figure.value), "title": interval}


def _job(report: Report, pictures: Pictures) -> dict[str, Any]:
    classes = report.job.classes if report.job else ()
    return {
        "largest": max((row.delivered for row in classes), default=1) or 1,
        "sheets": pictures.sheets[:MOST_SHEETS],
        "sheets_left_out": max(0, len(classes) - len(pictures.sheets[:MOST_SHEETS])),
    }


def _evaluation(evaluation: Evaluation | None, pictures: Pictures) -> dict[str, Any]:
    if evaluation is None:
        return {"evaluation_stages": []}
    real, lift = evaluation.real, evaluation.lift
    material = [("samples", evaluation.subject), ("real, to learn from", real.train)]
    if real.test is not None:
        material.append(("real, to test on", real.test))
    worst = evaluation.copies.worst_picture
    arms = [] if lift is None else [*lift.arms, *filter(None, [lift.train_on_synthetic])]
    return {
        "material_rows": material,
        "lift": lift,
        "lift_arms": arms,
        "lift_chart": charts.lift(lift) if lift else None,
        "copies_picture": pictures.of_evaluation.get(worst) if worst else None,
        "more_pictures": [(n, png) for n, png in pictures.of_evaluation.items() if n != worst],
        "evaluation_stages": _numbered(evaluation.cost.seconds),
        "most_share": max(
            (max(row.real_share, row.together_share) for row in evaluation.balance.classes),
            default=1.0,
        )
        or 1.0,
    }


def _model(number: int, part: ModelPart) -> dict[str, Any]:
    facts = [
        ("family", part.family),
        ("architecture", part.architecture),
        ("share of the samples", share(part.weight)),
        ("licence", part.licence),
        ("SHA-256", part.sha256),
    ]
    return {
        "part": part,
        "facts": facts,
        "figures": [(name.replace("_", " "), plain(v)) for name, v in part.figures.items()],
        "training": [(name.replace("_", " "), plain(v)) for name, v in part.training.items()],
        "chart": charts.training(part.curves, number) if part.curves else None,
    }


def _cost(report: Report) -> dict[str, Any]:
    cost = report.cost
    devices = [f"{name} ({shards:,} shards)" for name, shards in cost.devices.items()]
    work = _numbered(cost.work_seconds)
    return {
        "stages": _numbered(cost.seconds),
        "work": [*work, *(("drawn on", text) for text in devices)],
        "stored": [(name, f"{size:,}") for name, size in cost.bytes.items()],
    }


def _numbered(values: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), number(value)) for name, value in values.items()]
