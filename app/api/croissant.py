"""`/v1/jobs/{id}/croissant.json`: a dataset in the words of dataset catalogues."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from app import catalogue
from app.api.jobs import find_job
from app.api.services import Provided, Tenant
from app.datasets.croissant import File, Story, croissant
from app.datasets.exports.formats import samples_a_file
from app.datasets.exports.parquet_dataset import DataFile, data_files
from app.db.tables import TERMINAL, Job, JobState
from app.errors import ArchiveNotReadyError
from app.jobs.formats import Parquet, format_of
from app.jobs.plan import Plan
from app.quality.document import Report
from app.storage import LocalStorage

router = APIRouter(prefix="/v1/jobs", tags=["manifest"])

MOST_PARTS = 100
"""Parquet files of an archive that are described one by one."""
JSON_LD = "application/ld+json"
ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": {JSON_LD: {}}}}


@router.get("/{job_id}/croissant.json", response_class=JSONResponse, responses=ANSWERS)
def get_croissant(
    services: Provided, tenant: Tenant, job_id: str, request: Request
) -> JSONResponse:
    """The dataset of a succeeded job as Croissant 1.1, with RAI and PROV: files with their
    SHA-256, record sets, classes, what made it, and what was measured."""
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
        _check_ready(job)
        plan = Plan.from_json(job.plan)
        licences = [_licence(session, tenant, model.sha256) for model in plan.models]
    base = str(request.base_url).rstrip("/")
    document = croissant(
        plan, _story(services.storage, job, plan, licences, f"{base}/v1/jobs/{job.id}")
    )
    return JSONResponse(document, media_type=JSON_LD)


def _check_ready(job: Job) -> None:
    if job.state == JobState.SUCCEEDED:
        return
    if job.state in TERMINAL:
        raise ArchiveNotReadyError(f"The job has {job.state}, so it has no dataset.")
    raise ArchiveNotReadyError(
        f"The job is {job.state}; ask again when it has succeeded.", retry_after_seconds=1
    )


def _licence(session: Session, tenant: str, sha256: str) -> str:
    model = catalogue.by_content(session, tenant, sha256)
    return str(model.spec["licence"]) if model else "unknown"


def _story(storage: LocalStorage, job: Job, plan: Plan, licences: list[str], url: str) -> Story:
    assert job.finished_at is not None
    report = _report(storage, job)
    return Story(
        job=job.id,
        url=url,
        software=f"Synthloom {version('synthloom')}",
        began=job.started_at or job.created_at,
        ended=job.finished_at,
        files=[
            File(
                archive.format,
                f"{url}/archives/{archive.format}",
                archive.sha256,
                archive.bytes,
                _parts(plan, job, archive.format),
            )
            for archive in job.archives
        ],
        licences=licences,
        made=[] if report is None else list(_made(report)),
        biases=[] if report is None else list(_biases(report)),
        limitations=[] if report is None else [report.verdict, *report.warnings],
    )


def _parts(plan: Plan, job: Job, name: str) -> list[DataFile]:
    """The Parquet files of that archive, if they are few enough to describe each."""
    for chosen in map(format_of, job.formats):
        if isinstance(chosen, Parquet) and chosen.type == name:
            files = data_files(plan, chosen.shard_samples or samples_a_file(plan))
            return files if len(files) <= MOST_PARTS else []
    return []


def _report(storage: LocalStorage, job: Job) -> Report | None:
    if job.report is None or not storage.path(job.report.json_key).exists():
        return None
    return Report.model_validate_json(storage.read(job.report.json_key))


def _made(report: Report) -> Iterator[str]:
    if report.job is None:
        return
    refused = ", ".join(f"{count} as {reason}" for reason, count in report.job.refused.items())
    yield f"Of {report.job.candidates} images that were drawn, {refused or 'none'} were refused."


def _biases(report: Report) -> Iterator[str]:
    """The figures, each with what it was measured on; those of single classes are left out."""
    for name, figure in report.figures.items():
        if figure.value is None or "/" in name:
            continue
        against = f" and {figure.real} real images" if figure.real else ""
        yield f"{name}: {figure.value:.4g}, measured on {figure.synthetic} samples{against}."
