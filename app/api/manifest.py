"""`/v1/jobs/{id}/manifest`: of every sample, what made it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel

from app.api.jobs import find_job, page_token, read_token
from app.api.negotiation import preferred
from app.api.services import Provided, Services, Tenant
from app.datasets.manifest import Manifest
from app.datasets.parquet_manifest import PAGE_ROWS, parquet_pieces
from app.datasets.rows import manifest_of
from app.db.tables import Job
from app.errors import NotAcceptableError, UnknownClassError
from app.jobs.copy_guard import copy_guard
from app.quality.document import CopyGuard

router = APIRouter(prefix="/v1/jobs", tags=["manifest"])

NDJSON = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
FORMS = ("application/json", NDJSON, PARQUET)


class ManifestPage(BaseModel):
    """Rows in order of index; `next` is the `after` of the next page.

    refused: candidates of the shards stored so far that became no sample, by reason. copies: from
    which distance to a training image on one was refused as a copy, where that was checked.
    """

    samples: list[dict[str, Any]]
    next: str | None
    refused: dict[str, int]
    copies: CopyGuard | None


@router.get("/{job_id}/manifest", response_model=ManifestPage)
def get_manifest(
    services: Provided,
    tenant: Tenant,
    job_id: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str | None, Query(max_length=100)] = None,
    class_name: Annotated[str | None, Query(alias="class", max_length=255)] = None,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """The rows stored so far: JSON pages, or all of them where NDJSON or Parquet is preferred."""
    form = preferred(accept, FORMS)
    if form is None:
        raise NotAcceptableError(f"The manifest comes as {', '.join(FORMS)}.")
    manifest = _manifest(services, tenant, job_id)
    if form == NDJSON:
        return _lines(services, manifest)
    if form == PARQUET:
        return _parquet(services, manifest)
    if class_name is not None and class_name not in manifest.plan.classes:
        raise UnknownClassError(
            f"This job has no class {class_name[:80]!a}; it has {', '.join(manifest.plan.classes)}."
        )
    position = -1 if after is None else read_token(after)
    with services.transaction() as session:
        rows = manifest.page(session, position, limit, class_name)
    token = page_token(rows[-1]["index"]) if len(rows) == limit else None
    guard = copy_guard(manifest.plan)
    return JSONResponse(
        {
            "samples": rows,
            "next": token,
            "refused": manifest.job.refusals or {},
            "copies": guard.model_dump() if guard else None,
        }
    )


@router.get(
    "/{job_id}/manifest.ndjson",
    response_class=Response,
    responses={200: {"content": {NDJSON: {}}}},
)
def get_manifest_lines(services: Provided, tenant: Tenant, job_id: str) -> StreamingResponse:
    """Every row, one JSON object a line."""
    return _lines(services, _manifest(services, tenant, job_id))


@router.get(
    "/{job_id}/manifest.parquet",
    response_class=Response,
    responses={200: {"content": {PARQUET: {}}}},
)
def get_manifest_parquet(services: Provided, tenant: Tenant, job_id: str) -> StreamingResponse:
    """Every row as a Parquet file: the columns are the members of the JSON rows."""
    return _parquet(services, _manifest(services, tenant, job_id))


def _manifest(services: Services, tenant: str, job_id: str) -> Manifest:
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
    return manifest_of(job, services.storage)


def _lines(services: Services, manifest: Manifest) -> StreamingResponse:
    pages = manifest.pages(services.transaction)
    text = (
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in page).encode()
        for page in pages
    )
    return _download(manifest.job, text, NDJSON, "ndjson")


def _parquet(services: Services, manifest: Manifest) -> StreamingResponse:
    pages = manifest.stored(services.transaction, PAGE_ROWS)
    return _download(manifest.job, parquet_pieces(manifest, pages), PARQUET, "parquet")


def _download(
    job: Job, pieces: Iterator[bytes], media_type: str, extension: str
) -> StreamingResponse:
    first = next(pieces, b"")  # before the answer begins: what is wrong with it is still a problem
    headers = {"Content-Disposition": f'attachment; filename="{job.id}.{extension}"'}
    return StreamingResponse(chain([first], pieces), media_type=media_type, headers=headers)
