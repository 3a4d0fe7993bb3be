"""The report of an evaluation: one JSON and one HTML file, made by the process that measured."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.quality.curves import curves_of
from app.quality.document import CostPart, ModelPart, Report
from app.quality.gate import GateOutcome
from app.quality.page import Pictures, render
from app.runs.messages import REPORT_HTML, REPORT_JSON
from models.evaluation.results import Evaluation
from models.files import write_atomically
from models.spec import ModelSpec


def write_report(
    folder: Path, found: Evaluation, gate: GateOutcome | None, subject: dict[str, Any]
) -> None:
    """Put the report beside the evaluation and its pictures.

    subject: whose samples they are, as the order has it.
    """
    report = Report(
        title=f"{found.subject.name} against {found.real.train.name}",
        verdict=found.verdict,
        warnings=found.warnings,
        created=datetime.now(UTC),
        software=f"synthloom {version('synthloom')}",
        gate=gate,
        figures=dict(found.figures()),
        models=(_model(ModelSpec.model_validate(subject["spec"])),) if "spec" in subject else (),
        evaluation=found,
        cost=CostPart(seconds=found.cost.seconds),
        environment={"evaluation": found.environment},
    )
    pictures = {name: (folder / file).read_bytes() for name, file in found.pictures.items()}
    write_atomically(folder / REPORT_JSON, report.to_json().encode())
    page = render(report, Pictures(of_evaluation=pictures))
    write_atomically(folder / REPORT_HTML, page.encode())


def _model(spec: ModelSpec) -> ModelPart:
    return ModelPart(
        name=spec.name,
        version=spec.version,
        sha256=spec.sha256,
        weight=1.0,
        family=spec.family,
        architecture=spec.architecture,
        licence=spec.licence,
        description=spec.description,
        figures=spec.figures,
        training=spec.training,
        curves=curves_of(spec.training),
    )
