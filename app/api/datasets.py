"""`/v1/datasets`: real images that are learned from, compared with and added to."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from typing import Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.api.services import Provided, Services, Tenant
from app.api.uploads import Upload, multipart, received
from app.datasets import real
from app.datasets.intake import inspected, preview_of
from app.db.session import storable
from app.db.tables import Dataset
from app.deletion import jobs_measured_against, jobs_with_images_of, runs_needing
from app.errors import ValidationError
from models.corpus.source import Kind, Split
from models.spec import NAME_PATTERN

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

FILE = "file"
LICENCE_CHARACTERS = 200
ATTRIBUTION_CHARACTERS = 10_000
SMALLER = "Bring a part of the dataset, or raise SYNTHLOOM_MAX_DATASET_BYTES."
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
FORM = multipart(
    FILE,
    name="what it is called: lower-case letters, digits, `.`, `_` and `-`; not `ds_…`",
    licence="of the images, carried along wherever they go",
    attribution="whom to name, and where the images come from",
)


class ImageSizes(BaseModel):
    """Pixels: the least and the greatest sides, and the channels of the richest image."""

    smallest_height: int
    smallest_width: int
    largest_height: int
    largest_width: int
    channels: int


class DatasetLinks(BaseModel):
    """Where more of a dataset is."""

    self: str
    preview: str


class DatasetDetail(BaseModel):
    """A real dataset, and what was found in it. It never changes."""

    id: str
    name: str
    kind: Kind
    """The format it came in."""
    classes: list[str]
    """Their order is that of labels."""
    samples: int
    counts: dict[Split, dict[str, int]]
    """Images of each split and class."""
    groups: dict[str, int]
    """Images of each group, where the data has groups."""
    image: ImageSizes
    ignored: int
    """Files that are no images."""
    sha256: str
    """Of pixels, classes, groups and splits, whatever the format they came in."""
    file_sha256: str
    bytes: int
    licence: str
    attribution: str
    created: datetime
    links: DatasetLinks


class DatasetList(BaseModel):
    """Every dataset, the oldest first."""

    datasets: list[DatasetDetail]


@router.post(
    "",
    status_code=201,
    response_model=DatasetDetail,
    responses={200: {"description": "This content is there already"}},
    openapi_extra=FORM,
)
async def upload_dataset(
    services: Provided, tenant: Tenant, request: Request, response: Response
) -> DatasetDetail:
    """Bring a real dataset: a zip of class folders or of a Hugging Face ImageFolder, an npz, a
    Parquet file, a zip of IDX files.

    Every image is decoded once, in a sandbox. What can't be used is refused with the reason, and a
    refused upload leaves nothing behind.
    """
    settings = services.settings
    async with received(
        request, settings.data_dir, FILE, settings.max_dataset_bytes, SMALLER
    ) as upload:
        detail, is_new = await to_thread.run_sync(partial(_add, services, tenant, upload))
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = detail.links.self
    return detail


@router.get("")
def list_datasets(services: Provided, tenant: Tenant) -> DatasetList:
    """The real datasets that were brought."""
    with services.transaction() as session:
        return DatasetList(datasets=[detail_of(each) for each in real.every(session, tenant)])


@router.get("/{dataset}")
def get_dataset(services: Provided, tenant: Tenant, dataset: str) -> DatasetDetail:
    """One dataset, by its id or name."""
    with services.transaction() as session:
        return detail_of(real.find(session, tenant, dataset))


@router.get("/{dataset}/preview.png", response_class=Response, responses=PNG)
def get_preview(services: Provided, tenant: Tenant, dataset: str) -> FileResponse:
    """A contact sheet: one class a row, of 24 classes at most."""
    with services.transaction() as session:
        row = real.find(session, tenant, dataset)
    return FileResponse(
        services.storage.path(row.preview_key),
        media_type="image/png",
        headers={"ETag": f'"{row.sha256}"', "Cache-Control": "private, max-age=3600"},
    )


@router.delete("/{dataset}", status_code=204, response_class=Response)
def delete_dataset(services: Provided, tenant: Tenant, dataset: str) -> None:
    """Delete a dataset and its file. 409 while something that has not ended needs it."""
    with services.transaction() as session:
        left = real.delete(session, tenant, dataset, _users)
    services.storage.delete_all(left)


def _users(session: Session, dataset: Dataset) -> list[str]:
    jobs = [
        *jobs_measured_against(session, dataset.tenant_id, dataset.id),
        *jobs_with_images_of(session, dataset.tenant_id, dataset.sha256),
    ]
    return [*dict.fromkeys(jobs), *runs_needing(session, dataset.tenant_id, dataset.id)]


def detail_of(row: Dataset) -> DatasetDetail:
    """A dataset as it is shown."""
    survey = real.survey_of(row)
    path = f"/v1/datasets/{row.id}"
    return DatasetDetail(
        id=row.id,
        name=row.name,
        kind=survey.kind,
        classes=list(survey.classes),
        samples=sum(sum(counts) for counts in survey.counts.values()),
        counts={
            split: dict(zip(survey.classes, counts, strict=True))
            for split, counts in survey.counts.items()
        },
        groups=survey.groups,
        image=ImageSizes(
            smallest_height=survey.smallest.height,
            smallest_width=survey.smallest.width,
            largest_height=survey.largest.height,
            largest_width=survey.largest.width,
            channels=survey.channels,
        ),
        ignored=survey.ignored,
        sha256=row.sha256,
        file_sha256=row.file_sha256,
        bytes=row.file_bytes,
        licence=row.licence,
        attribution=row.attribution,
        created=row.created_at,
        links=DatasetLinks(self=path, preview=f"{path}/preview.png"),
    )


def _add(services: Services, tenant: str, upload: Upload) -> tuple[DatasetDetail, bool]:
    name = upload.fields.get("name", "").strip()
    if not re.fullmatch(NAME_PATTERN, name) or name.startswith(real.PREFIX):
        raise ValidationError(
            f"Give the dataset a `name`: 1 to 64 lower-case letters, digits, `.`, `_` or `-`, and "
            f"not beginning with `{real.PREFIX}`."
        )
    licence = _text(upload, "licence", LICENCE_CHARACTERS)
    attribution = _text(upload, "attribution", ATTRIBUTION_CHARACTERS)
    found = inspected(upload.file, upload.folder, services.settings)
    dataset = real.draft(tenant, name, found.survey, licence, attribution)
    preview = preview_of(found)
    with services.transaction() as session:
        known = real.by_content(session, tenant, dataset.sha256)
        if known is not None:
            return detail_of(known), False
        real.refuse_other_content(session, tenant, name, dataset.sha256)
    with services.transaction() as session:
        row, is_new = real.add(session, services.storage, tenant, dataset, upload.file, preview)
        return detail_of(row), is_new


def _text(upload: Upload, name: Literal["licence", "attribution"], most: int) -> str:
    text = upload.fields.get(name, "").strip()
    if len(text) > most or not storable(text):
        raise ValidationError(f"The field `{name}` is text of at most {most:,} characters.")
    return text
