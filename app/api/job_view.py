"""A job as clients see it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app import catalogue
from app.db.tables import Job, Shard
from app.jobs.asked_checks import asked_again
from app.jobs.asked_report import AskedReport
from app.jobs.copy_guard import copy_guard
from app.jobs.encoding import Encoding
from app.jobs.formats import name_of
from app.jobs.plan import Plan
from app.jobs.sampling import Sampling
from app.jobs.transforms import Transform
from app.quality.document import CopyGuard
from app.quality.gate import GateOutcome


class Source(BaseModel):
    """A model of a job, pinned by content."""

    name: str
    version: str
    sha256: str
    weight: float


class Labeller(BaseModel):
    """The classifier that labels what the models of a job draw, pinned by content."""

    name: str
    version: str
    sha256: str
    min_confidence: float


class Merged(BaseModel):
    """The real dataset that a job is merged with. `train`: of each class of the training split,
    real images, samples, and both."""

    name: str
    sha256: str
    licence: str
    attribution: str
    images: int
    splits: dict[str, int]
    train: dict[str, MergedClass]


class MergedClass(BaseModel):
    """A class of the merged training split."""

    real: int
    synthetic: int
    together: int


class Progress(BaseModel):
    """How far a job is. `samples_done` counts those of running shards too."""

    samples: int
    samples_done: int
    shards: int
    shards_done: int
    candidates_refused: int
    refused: dict[str, int]
    """The same by reason."""


class ArchiveView(BaseModel):
    """A downloadable rendering of the dataset."""

    format: str
    bytes: int
    sha256: str
    entries: int
    url: str


class ReportView(BaseModel):
    """The report of a job that has ended: its first line, and where it is."""

    verdict: str
    gate: GateOutcome | None
    json_url: str
    html_url: str
    json_bytes: int
    html_bytes: int


class WebhookView(BaseModel):
    """Who is told of the end of a job or a run, and what came of it.

    last_status: HTTP status of the last attempt; None where it brought no answer, and
    `last_error` says why. given_up: there will be no further attempt.
    """

    url: str
    attempts: int = 0
    last_status: int | None = None
    last_error: str | None = None
    delivered_at: datetime | None = None
    given_up: bool = False


class JobLinks(BaseModel):
    """Where more of a job is."""

    self: str
    manifest: str
    croissant: str
    cancel: str
    report: str


class JobView(BaseModel):
    """A job: what was asked, how far it is, where the result is."""

    id: str
    dataset_identifier: str
    """Of the dataset: equal for equal plans, on every server. Image files carry it."""
    state: str
    seed: int
    samples: int
    samples_per_class: dict[str, int]
    classes: list[str]
    models: list[Source]
    labelled_by: Labeller | None
    merged_with: Merged | None
    sampling: Sampling | None
    transforms: list[Transform]
    variants: int
    """Samples that the transforms make of each drawn image."""
    drawn: int
    """Images that have to be drawn for them: `samples`, where each is one."""
    checks: dict[str, Any]
    """What candidates are refused for: as a request for the same has it, everything pinned."""
    copies: CopyGuard | None
    """Of which training images none is a copy, and from which distance on one would be."""
    encoding: Encoding
    formats: list[str]
    format_options: dict[str, dict[str, Any]]
    """Format → its options, of those that were asked for with some."""
    progress: Progress
    archives: list[ArchiveView]
    report_asked: AskedReport | None
    gate: list[str]
    report: ReportView | None
    webhook: WebhookView | None
    warnings: list[str]
    problem: dict[str, Any] | None
    created: datetime
    started: datetime | None
    finished: datetime | None
    links: JobLinks


def view_of(session: Session, job: Job) -> JobView:
    """The view of a job whose archives and report are loaded."""
    plan = Plan.from_json(job.plan)
    url = f"/v1/jobs/{job.id}"
    return JobView(
        id=job.id,
        dataset_identifier=plan.identifier,
        state=job.state,
        seed=plan.seed,
        samples=job.samples,
        samples_per_class=plan.samples_per_class,
        classes=list(plan.classes),
        models=[
            Source(name=m.name, version=m.version, sha256=m.sha256, weight=m.weight)
            for m in plan.models
        ],
        labelled_by=Labeller(**asdict(plan.labelled_by)) if plan.labelled_by else None,
        merged_with=merged_view(plan),
        sampling=plan.sampling,
        transforms=list(plan.transforms),
        variants=plan.variants,
        drawn=plan.drawn,
        checks=asked_again(plan.checks),
        copies=copy_guard(plan),
        encoding=plan.encoding,
        formats=[name_of(asked) for asked in job.formats],
        format_options={
            name_of(asked): {key: value for key, value in asked.items() if key != "type"}
            for asked in job.formats
            if isinstance(asked, dict)
        },
        progress=_progress(session, job),
        archives=[
            ArchiveView(
                format=a.format,
                bytes=a.bytes,
                sha256=a.sha256,
                entries=a.entries,
                url=f"{url}/archives/{a.format}",
            )
            for a in job.archives
        ],
        report_asked=job.report_asked,
        gate=job.gate or [],
        report=_report_view(job, url),
        webhook=WebhookView(**job.webhook) if job.webhook else None,
        warnings=catalogue.warnings_of_contents(
            session, job.tenant_id, [model.sha256 for model in plan.models]
        ),
        problem=job.problem,
        created=job.created_at,
        started=job.started_at,
        finished=job.finished_at,
        links=_links(url),
    )


def _links(url: str) -> JobLinks:
    return JobLinks(
        self=url,
        manifest=f"{url}/manifest",
        croissant=f"{url}/croissant.json",
        cancel=f"{url}/cancel",
        report=f"{url}/report",
    )


def merged_view(plan: Plan) -> Merged | None:
    """The real dataset of a plan; None where it is merged with nothing."""
    merge = plan.merge
    if merge is None:
        return None
    real, drawn = merge.real(), plan.samples_per_class
    return Merged(
        name=merge.name,
        sha256=merge.sha256,
        licence=merge.licence,
        attribution=merge.attribution,
        images=merge.images,
        splits={split: sum(merge.real(split).values()) for split in merge.splits},
        train={
            name: MergedClass(
                real=real.get(name, 0),
                synthetic=drawn.get(name, 0),
                together=real.get(name, 0) + drawn.get(name, 0),
            )
            for name in plan.classes
            if name in real or name in drawn
        },
    )


def _progress(session: Session, job: Job) -> Progress:
    return Progress(
        samples=job.samples,
        samples_done=job.samples_done + _running_samples(session, job),
        shards=job.shards,
        shards_done=job.shards_done,
        candidates_refused=job.refused,
        refused=job.refusals or {},
    )


def _report_view(job: Job, url: str) -> ReportView | None:
    report = job.report
    if report is None:
        return None
    return ReportView(
        verdict=report.verdict,
        gate=report.gate,
        json_url=f"{url}/report.json",
        html_url=f"{url}/report.html",
        json_bytes=report.json_bytes,
        html_bytes=report.html_bytes,
    )


def _running_samples(session: Session, job: Job) -> int:
    if job.state != "running":
        return 0
    drawn = session.execute(
        sa.select(sa.func.coalesce(sa.func.sum(Shard.drawn), 0)).where(
            Shard.job_number == job.number, Shard.done_at.is_(None)
        )
    ).scalar_one()
    return int(drawn)
