"""Archives to download, and single samples to look at before."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from app.api.conditional import Download, not_modified
from app.api.jobs import find_job
from app.api.models import PNG
from app.api.services import Provided, Services, Tenant
from app.datasets.contact_sheet import contact_sheet
from app.datasets.decoding import decode
from app.datasets.exports.formats import RENDERINGS
from app.datasets.manifest import StoredRow
from app.datasets.rows import manifest_of
from app.db.tables import TERMINAL, Archive, Job
from app.errors import ArchiveNotReadyError, MissingObjectError, NotFoundError
from app.jobs.encoding import Jpeg, Png, Webp
from app.jobs.formats import name_of
from app.jobs.plan import Plan

router = APIRouter(prefix="/v1/jobs", tags=["archives"])

SAMPLE: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind.media_type: {} for kind in (Png, Webp, Jpeg)}}
}

ARCHIVES: dict[str, dict[str, Any]] = {
    rendering.media_type: {} for rendering in RENDERINGS.values()
}

_PREVIEW_COLUMNS = 10
_PREVIEW_CLASSES = 50
_PREVIEW_LOOKED_AT = 2_000


@router.head("/{job_id}/archives/{archive_format}", include_in_schema=False)
@router.get(
    "/{job_id}/archives/{archive_format}",
    response_class=Response,
    responses={200: {"content": ARCHIVES}, 206: {"description": "a part of it"}},
)
def get_archive(
    services: Provided, tenant: Tenant, job_id: str, archive_format: str, request: Request
) -> Response:
    """The archive of a succeeded job. Ranges, a strong ETag, and the SHA-256 as `Repr-Digest`."""
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
    archive = _archive(job, archive_format)
    path = services.storage.path(archive.object_key)
    if not path.exists():
        raise MissingObjectError(
            "The stored archive is gone. Restore the storage, or submit the job again."
        )
    digest = base64.b64encode(bytes.fromhex(archive.sha256)).decode()
    headers = {
        "ETag": f'"sha256-{archive.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-transform",
    }
    if not_modified(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    rendering = RENDERINGS[archive.format]
    return Download(
        path,
        media_type=rendering.media_type,
        filename=f"{job.id}-{archive_format}.{rendering.extension}",
        headers=headers,
    )


@router.get("/{job_id}/samples/{index}", response_class=Response, responses=SAMPLE)
def get_sample(
    services: Provided, tenant: Tenant, job_id: str, index: Annotated[int, Path(ge=0, lt=2**62)]
) -> Response:
    """One image as it lies in the archive, as soon as its shard is stored."""
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
        manifest = manifest_of(job, services.storage)
        found = manifest.sample(session, index)
    if found is None:
        raise NotFoundError(f"Sample {index} is not stored (yet); the job has {job.samples}.")
    payload = services.storage.read(found.object_key, found.row.offset, found.row.length)
    headers = {"ETag": f'"sha256-{found.row.file_sha256.hex()}"'}
    return Response(payload, media_type=manifest.plan.encoding.media_type, headers=headers)


@router.get("/{job_id}/preview.png", response_class=Response, responses=PNG)
def get_preview(services: Provided, tenant: Tenant, job_id: str) -> Response:
    """A contact sheet of what is stored so far: one class a row."""
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
        manifest = manifest_of(job, services.storage)
        prefix = manifest.rows.read(session, -1, _PREVIEW_LOOKED_AT)
    rows = _preview_rows(services, manifest.plan, prefix)
    if not rows:
        raise NotFoundError("No sample of this job is stored yet. Try again when a shard is done.")
    return Response(contact_sheet(rows), media_type="image/png")


def _archive(job: Job, archive_format: str) -> Archive:
    for archive in job.archives:
        if archive.format == archive_format:
            return archive
    asked = [name_of(document) for document in job.formats]
    if archive_format not in asked:
        raise NotFoundError(f"This job was asked for: {', '.join(asked)}.")
    if job.state in TERMINAL:
        raise ArchiveNotReadyError(f"The job has {job.state}, so it has no archive.")
    raise ArchiveNotReadyError(
        f"The job is {job.state}; ask again when it has succeeded.", retry_after_seconds=1
    )


def _preview_rows(
    services: Services, plan: Plan, prefix: list[StoredRow]
) -> list[tuple[str, list[NDArray[np.uint8]]]]:
    """The first samples of each class: shards are stratified, so a prefix shows every class."""
    rows: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in plan.samples_per_class}
    for sample, _, object_key, _ in prefix:
        row = rows[plan.classes[plan.cells[sample.cell].label]]
        if len(row) < _PREVIEW_COLUMNS:
            payload = services.storage.read(object_key, sample.offset, sample.length)
            row.append(decode(payload, plan.encoding, plan.image))
    return [(name, row) for name, row in rows.items() if row][:_PREVIEW_CLASSES]
