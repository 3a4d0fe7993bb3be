"""`/v1/models`: what can be sampled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from sqlalchemy.orm import Session

from app import catalogue, deletion
from app.api.services import Provided, Services, Tenant
from app.api.strict import StrictRoute
from app.db.tables import Model
from app.errors import NotFoundError
from models.spec import ImageShape, ModelSpec

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=StrictRoute)

PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}


class ModelLinks(BaseModel):
    """Where more of a model is."""

    self: str
    preview: str
    export: str


class ModelSummary(BaseModel):
    """What a model makes, and how well."""

    name: str
    version: str
    default: bool
    """Whether it is the version that the name alone means."""
    sha256: str
    family: str
    architecture: str
    conditioning: str
    classes: list[str]
    image: ImageShape
    latent_size: int
    licence: str
    description: str
    figures: dict[str, Any]
    created: datetime
    probe: dict[str, Any] | None
    """What was measured when it was imported; none for models that are shipped."""
    warnings: list[str]
    """Why what it makes is not worth serving, if its owner insisted."""
    links: ModelLinks


class ModelDetail(ModelSummary):
    """A model with its whole spec."""

    spec: ModelSpec


class ModelList(BaseModel):
    """Every model, by name."""

    models: list[ModelSummary]


class VersionList(BaseModel):
    """Every version of a model, the newest first."""

    name: str
    default: str
    """The version that the name alone means."""
    chosen: bool
    """Whether it was chosen; if not, it is the newest, and a newer one takes its place."""
    versions: list[ModelSummary]


class Chosen(BaseModel):
    """The version that a name shall mean."""

    model_config = ConfigDict(extra="forbid")
    version: StrictStr = Field(min_length=1, max_length=40)


@router.get("")
def list_models(services: Provided, tenant: Tenant) -> ModelList:
    """The models that jobs can name."""
    with services.transaction() as session:
        rows = list(catalogue.every(session, tenant))
    return ModelList(models=_summaries(rows))


@router.get("/{name}")
def get_model(services: Provided, tenant: Tenant, name: str) -> ModelDetail:
    """One model: `name` is its default version, `name@version` a certain one."""
    with services.transaction() as session:
        return detail_of(session, catalogue.find(session, tenant, name))


@router.delete("/{name}", status_code=204, response_class=Response)
async def delete_model(services: Provided, tenant: Tenant, name: str) -> None:
    """Delete `name@version`; `name` alone where there is only one version.

    409 while a job that has not ended needs it. Datasets that were made with it stay, and so does
    what their manifests say of it. Shipped models can't be deleted.
    """
    await run_in_threadpool(_delete, services, tenant, name)
    services.models.forget()


@router.get("/{name}/versions")
def list_versions(services: Provided, tenant: Tenant, name: str) -> VersionList:
    """Every version of a model, and which of them its name alone means."""
    with services.transaction() as session:
        return _version_list(catalogue.versions(session, tenant, name))


@router.put("/{name}/default")
async def choose_default(
    services: Provided, tenant: Tenant, name: str, body: Chosen
) -> VersionList:
    """Let the name mean this version, also when newer ones come."""
    found = await run_in_threadpool(_choose, services, tenant, name, body.version)
    services.models.forget()
    return found


@router.delete("/{name}/default")
async def forget_default(services: Provided, tenant: Tenant, name: str) -> VersionList:
    """Let the name mean the newest version again, whichever that is."""
    found = await run_in_threadpool(_choose, services, tenant, name, None)
    services.models.forget()
    return found


@router.get("/{name}/preview.png", response_class=Response, responses=PNG)
def get_preview(services: Provided, tenant: Tenant, name: str) -> FileResponse:
    """A contact sheet of the model: one class a row."""
    with services.transaction() as session:
        row = catalogue.find(session, tenant, name)
    if row.preview_key is None:
        raise NotFoundError(f"{row.name} was registered without a preview.")
    return FileResponse(
        services.storage.path(row.preview_key),
        media_type="image/png",
        headers={"ETag": f'"{row.sha256}"', "Cache-Control": "private, max-age=3600"},
    )


def detail_of(session: Session, row: Model) -> ModelDetail:
    """A model with its whole spec."""
    default = catalogue.find(session, row.tenant_id, row.name).id == row.id
    return ModelDetail(**_facts(row, default), spec=catalogue.spec_of(row))


def _delete(services: Services, tenant: str, ref: str) -> None:
    with services.transaction() as session:
        left = deletion.delete(session, tenant, ref)
    services.storage.delete_all(left)


def _choose(services: Services, tenant: str, name: str, version: str | None) -> VersionList:
    with services.transaction() as session:
        return _version_list(catalogue.choose(session, tenant, name, version))


def _version_list(rows: Sequence[Model]) -> VersionList:
    default = catalogue.default_of(rows)
    return VersionList(
        name=default.name,
        default=default.version,
        chosen=default.chosen_at is not None,
        versions=_summaries(rows),
    )


def _summaries(rows: Sequence[Model]) -> list[ModelSummary]:
    """Summaries of models; of each name every version is there."""
    versions: dict[str, list[Model]] = {}
    for row in rows:
        versions.setdefault(row.name, []).append(row)
    defaults = {catalogue.default_of(each).id for each in versions.values()}
    return [ModelSummary(**_facts(row, row.id in defaults)) for row in rows]


def _facts(row: Model, default: bool) -> dict[str, Any]:
    spec = catalogue.spec_of(row)
    ref = f"/v1/models/{spec.ref}"
    return {
        "name": spec.name,
        "version": spec.version,
        "default": default,
        "sha256": row.sha256,
        "family": spec.family,
        "architecture": spec.architecture,
        "conditioning": spec.conditioning,
        "classes": list(spec.class_names),
        "image": spec.image,
        "latent_size": spec.latent_size,
        "licence": spec.licence,
        "description": spec.description,
        "figures": spec.figures,
        "created": row.created_at,
        "probe": row.probe,
        "warnings": catalogue.warnings_of(row),
        "links": ModelLinks(self=ref, preview=f"{ref}/preview.png", export=f"{ref}/export"),
    }
