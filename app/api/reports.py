"""`/v1/jobs/{id}/report`: what a job's samples are worth, for programs and for people."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request
from fastapi.responses import FileResponse, Response

from app.api.conditional import not_modified
from app.api.jobs import find_job
from app.api.negotiation import preferred
from app.api.services import Provided, Services, Tenant
from app.db.tables import TERMINAL, Job, JobReport
from app.errors import MissingObjectError, NotAcceptableError, ReportNotReadyError
from app.quality.document import Report

router = APIRouter(prefix="/v1/jobs", tags=["reports"])

Form = Literal["json", "html"]
MEDIA_TYPES: dict[Form, str] = {"json": "application/json", "html": "text/html"}
SAFE = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-transform",
}
"""Whatever a report holds, a browser runs none of it and loads nothing."""
ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}}}


@router.get("/{job_id}/report", response_model=Report, responses=ANSWERS)
def get_report(
    services: Provided,
    tenant: Tenant,
    job_id: str,
    request: Request,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """The report of a job that has succeeded, or whose gate was not passed: JSON, or HTML where
    that is preferred."""
    kind = preferred(accept, tuple(MEDIA_TYPES.values()))
    if kind is None:
        raise NotAcceptableError(f"The report comes as {' or '.join(MEDIA_TYPES.values())}.")
    form: Form = "html" if kind == MEDIA_TYPES["html"] else "json"
    return _report(services, tenant, job_id, form, request)


@router.get("/{job_id}/report.json", response_model=Report)
def get_report_json(services: Provided, tenant: Tenant, job_id: str, request: Request) -> Response:
    """The report as JSON; docs/report.schema.json describes it."""
    return _report(services, tenant, job_id, "json", request)


@router.get("/{job_id}/report.html", response_class=Response, responses=ANSWERS)
def get_report_html(services: Provided, tenant: Tenant, job_id: str, request: Request) -> Response:
    """The report as one HTML file that needs nothing else."""
    return _report(services, tenant, job_id, "html", request)


def _report(services: Services, tenant: str, job_id: str, form: Form, request: Request) -> Response:
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
    report = _of(job)
    key = report.json_key if form == "json" else report.html_key
    sha256 = report.json_sha256 if form == "json" else report.html_sha256
    path = services.storage.path(key)
    if not path.exists():
        raise MissingObjectError(
            "The stored report is gone. Restore the storage, or submit the job again."
        )
    headers = SAFE | {"ETag": f'"sha256-{sha256}"', "Vary": "Accept"}
    if not_modified(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type=MEDIA_TYPES[form], headers=headers)


def _of(job: Job) -> JobReport:
    if job.report is not None:
        return job.report
    if job.state in TERMINAL:
        raise ReportNotReadyError(f"The job has {job.state}, so it has no report.")
    raise ReportNotReadyError(
        f"The job is {job.state}; ask again when it has ended.", retry_after_seconds=1
    )
