"""From a request for an evaluation to what is kept of it, checked against what is there."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue
from app.datasets import real
from app.db.tables import Archive, Dataset, Job
from app.errors import NotFoundError, UnknownModelError, ValidationError
from app.jobs.request import JobRequest, Limits, make_plan
from app.quality.gate import read_gate
from app.runs.request import MAX_SEED, MOST_DRAWN, EvaluationRequest, Subject, evaluation_options
from app.runs.training import known_dataset
from models.corpus.survey import Survey
from models.spec import ModelSpec


class Ordered(NamedTuple):
    """The request as a run keeps it, and what has to stay until it has ended."""

    request: dict[str, Any]
    datasets: list[str]
    models: list[str]


def evaluation_order(
    session: Session, tenant_id: str, body: EvaluationRequest, limits: Limits
) -> Ordered:
    """Raises UnknownDatasetError, UnknownModelError, UnknownFigureError, ValidationError."""
    read_gate(body.gate)
    asked = body.subject.checked()
    against = known_dataset(session, tenant_id, body.against)
    survey = real.survey_of(against)
    if asked.model is not None:
        subject, name = _model(session, tenant_id, asked, survey, limits)
    elif asked.job is not None:
        subject, name = _job(session, tenant_id, asked.job), asked.job
    else:
        dataset = known_dataset(session, tenant_id, asked.dataset or "")
        _refuse_itself(dataset, against)
        subject, name = {"dataset": dataset.id}, dataset.name
    kind = "model" if asked.model is not None else "dataset"
    options = evaluation_options(body, subject_name=name, subject_kind=kind, real_name=against.name)
    return Ordered(
        request={
            "subject": subject,
            "against": against.id,
            "options": options.model_dump(mode="json"),
            "gate": body.gate,
        },
        datasets=[against.id, *([subject["dataset"]] if "dataset" in subject else [])],
        models=[subject["sha256"]] if "sha256" in subject else [],
    )


def _model(
    session: Session, tenant_id: str, asked: Subject, survey: Survey, limits: Limits
) -> tuple[dict[str, Any], str]:
    """The model, and the plan by which it is drawn from: that of a job with the same seed."""
    try:
        model = catalogue.find(session, tenant_id, asked.model or "")
    except NotFoundError as error:
        raise UnknownModelError(error.detail) from error
    spec = catalogue.spec_of(model)
    seed = secrets.randbelow(MAX_SEED) if asked.seed is None else asked.seed
    request = JobRequest(model=spec.ref, **_counts(spec, asked, survey))
    plan = make_plan(request, [spec], seed, limits)
    if plan.samples > MOST_DRAWN:
        raise ValidationError(
            f"{plan.samples} samples are more than an evaluation draws; ask for {MOST_DRAWN} in "
            "all at most."
        )
    subject = {
        "model": spec.ref,
        "sha256": spec.sha256,
        "seed": seed,
        "samples_per_class": plan.samples_per_class,
        "plan": plan.to_json(),
    }
    return subject, spec.ref


def _counts(spec: ModelSpec, asked: Subject, survey: Survey) -> dict[str, Any]:
    """How many samples: as said, or as many as there are real training images of each class."""
    counts = survey.counts.get("train") or next(iter(survey.counts.values()))
    if not spec.conditional:
        count = asked.samples_per_class or min(sum(counts), MOST_DRAWN)
        return {"samples": count}
    if asked.samples_per_class is not None:
        return {"samples_per_class": asked.samples_per_class}
    real_ones = dict(zip(survey.classes, counts, strict=True))
    shared = {name: real_ones.get(name, 0) for name in spec.classes}
    total = sum(shared.values())
    if not total:
        raise ValidationError(
            f"{spec.ref} and the dataset have no class in common: {_some(spec.classes)} and "
            f"{_some(survey.classes)}."
        )
    scale = min(1.0, MOST_DRAWN / total)
    scaled = {name: int(count * scale) for name, count in shared.items()}
    return {"samples_per_class": scaled}


def _job(session: Session, tenant_id: str, job_id: str) -> dict[str, Any]:
    job = session.execute(
        sa.select(Job).where(Job.tenant_id == tenant_id, Job.id == job_id)
    ).scalar_one_or_none()
    if job is None:
        raise ValidationError(
            f"There is no job {job_id[:60]!a}; GET /v1/jobs lists those there are."
        )
    archive = session.execute(
        sa.select(Archive.format).where(Archive.job_number == job.number).limit(1)
    ).scalar_one_or_none()
    if archive is None:
        raise ValidationError(
            f"The job {job_id} is {job.state}: only one that has succeeded can be measured."
        )
    return {"job": job_id}


def _refuse_itself(dataset: Dataset, against: Dataset) -> None:
    if dataset.id == against.id:
        raise ValidationError("A dataset can't be measured against itself: name another one.")


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(ascii(name)[1:-1] for name in names[:5])
    return f"{shown}, …" if len(names) > 5 else shown
