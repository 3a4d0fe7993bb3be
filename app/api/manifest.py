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
from app.api.services import Provided, Services, Tenant
from app.datasets.manifest import Manifest
from app.datasets.rows import manifest_of
from app.errors import NotAcceptableError, UnknownClassError

router = APIRouter(prefix="/v1/jobs", tags=["manifest"])

NDJSON = "application/x-ndjson"


class ManifestPage(BaseModel):
    """Rows in order of index; `next` is the `after` of the next page."""

    samples: list[dict[str, Any]]
    next: str | None


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
    """The rows stored so far: JSON pages, or all of them as NDJSON if that is accepted."""
    if NDJSON in accept:
        return _stream(services, _manifest(services, tenant, job_id))
    if not any(kind in accept for kind in ("*/*", "application/*", "application/json")):
        raise NotAcceptableError(f"The manifest comes as application/json or {NDJSON}.")
    manifest = _manifest(services, tenant, job_id)
    if class_name is not None and class_name not in manifest.plan.classes:
        raise UnknownClassError(
            f"This job has no class {class_name[:80]!a}; it has {', '.join(manifest.plan.classes)}."
        )
    position = -1 if after is None else read_token(after)
    with services.transaction() as session:
        rows = manifest.page(session, position, limit, class_name)
    token = page_token(rows[-1]["index"]) if len(rows) == limit else None
    return JSONResponse({"samples": rows, "next": token})


@router.get(
    "/{job_id}/manifest.ndjson",
    response_class=Response,
    responses={200: {"content": {NDJSON: {}}}},
)
def get_manifest_lines(services: Provided, tenant: Tenant, job_id: str) -> StreamingResponse:
    """Every row, one JSON object a line."""
    return _stream(services, _manifest(services, tenant, job_id))


def _manifest(services: Services, tenant: str, job_id: str) -> Manifest:
    with services.transaction() as session:
        job = find_job(session, tenant, job_id)
    return manifest_of(job, services.storage)


def _stream(services: Services, manifest: Manifest) -> StreamingResponse:
    pages = manifest.pages(services.transaction)
    first = next(pages, [])  # before the answer begins: what is wrong with it is still a problem

    def lines() -> Iterator[bytes]:
        for page in chain([first], pages):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in page)
            yield text.encode()

    headers = {"Content-Disposition": f'attachment; filename="{manifest.job.id}.ndjson"'}
    return StreamingResponse(lines(), media_type=NDJSON, headers=headers)
