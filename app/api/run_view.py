"""Trainings and evaluations as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from app.api.job_view import WebhookView
from app.db.tables import Run


class RunProgress(BaseModel):
    """How far a run is. What is not known yet is null."""

    stage: str = "waiting"
    """What is done now, in a few words."""
    done: float | None = None
    """0 to 1."""
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    """Of learning or measuring so far, in all attempts."""
    seconds_left: float | None = None
    losses: dict[str, float | None] = {}
    figures: dict[str, float | None] = {}
    """Of the best snapshot so far."""
    warnings: list[str] = []


class RunView(BaseModel):
    """What both kinds have."""

    id: str
    state: str
    progress: RunProgress
    attempts: int
    """How often it was begun: more than once when a process or a worker ended on the way."""
    worker: str | None
    webhook: WebhookView | None
    problem: dict[str, Any] | None
    created: datetime
    started: datetime | None
    finished: datetime | None


class TrainingLinks(BaseModel):
    """Where more of a training is."""

    self: str
    cancel: str
    grid: str
    curves: str
    model: str | None
    """Once it is registered."""


class TrainingView(RunView):
    """A training: what was asked, how far it is, and the model that came of it."""

    architecture: str
    dataset: str
    name: str
    config: dict[str, Any]
    """The whole configuration: the same one on the same dataset learns the same model."""
    model: str | None
    """`name@version`, once it is registered."""
    model_sha256: str | None
    figures: dict[str, Any]
    links: TrainingLinks


class EvaluationLinks(BaseModel):
    """Where more of an evaluation is."""

    self: str
    cancel: str
    report_html: str
    report_json: str


class EvaluationView(RunView):
    """An evaluation: whose samples, against what, and what was found."""

    subject: dict[str, Any]
    against: str
    options: dict[str, Any]
    verdict: str | None
    """One sentence."""
    warnings: list[str]
    gate: dict[str, Any] | None
    """Which conditions hold."""
    links: EvaluationLinks


class EvaluationDetail(EvaluationView):
    """An evaluation with all that was found."""

    result: dict[str, Any] | None


def training_view(run: Run) -> TrainingView:
    """The view of a training."""
    url, config, result = f"/v1/trainings/{run.id}", run.request["config"], run.result or {}
    ref = result.get("model")
    return TrainingView(
        **_common(run),
        architecture=config["architecture"],
        dataset=run.request["dataset"],
        name=config["name"],
        config=config,
        model=ref,
        model_sha256=result.get("sha256"),
        figures=result.get("figures") or {},
        links=TrainingLinks(
            self=url,
            cancel=f"{url}/cancel",
            grid=f"{url}/grid.png",
            curves=f"{url}/curves",
            model=f"/v1/models/{ref}" if ref else None,
        ),
    )


def evaluation_view(run: Run) -> EvaluationView:
    """The view of an evaluation."""
    return EvaluationView(**_evaluation(run))


def evaluation_detail(run: Run) -> EvaluationDetail:
    """The view with all that was found."""
    return EvaluationDetail(**_evaluation(run), result=(run.result or {}).get("evaluation"))


def _evaluation(run: Run) -> dict[str, Any]:
    url, result = f"/v1/evaluations/{run.id}", run.result or {}
    found = result.get("evaluation") or {}
    return {
        **_common(run),
        "subject": {k: v for k, v in run.request["subject"].items() if k != "plan"},
        "against": run.request["against"],
        "options": run.request["options"],
        "verdict": found.get("verdict"),
        "warnings": found.get("warnings") or [],
        "gate": result.get("gate"),
        "links": EvaluationLinks(
            self=url,
            cancel=f"{url}/cancel",
            report_html=f"{url}/report.html",
            report_json=f"{url}/report.json",
        ),
    }


def _common(run: Run) -> dict[str, Any]:
    known = {
        k: v for k, v in run.progress.items() if k in RunProgress.model_fields and v is not None
    }
    return {
        "id": run.id,
        "state": run.state,
        "progress": RunProgress(**known),
        "attempts": run.attempts,
        "worker": run.worker_id,
        "webhook": WebhookView(**run.webhook) if run.webhook else None,
        "problem": run.problem,
        "created": run.created_at,
        "started": run.started_at,
        "finished": run.finished_at,
    }
