"""`/v1/models`: what can be sampled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel

from app import catalogue
from app.api.services import Provided, Tenant
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


class ModelSummary(BaseModel):
    """What a model makes, and how well."""

    name: str
    version: str
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


@router.get("")
def list_models(services: Provided, tenant: Tenant) -> ModelList:
    """The models that jobs can name."""
    with services.transaction() as session:
        rows = list(catalogue.every(session, tenant))
    return ModelList(models=[ModelSummary(**facts_of(row)) for row in rows])


@router.get("/{name}")
def get_model(services: Provided, tenant: Tenant, name: str) -> ModelDetail:
    """One model: `name` is its newest version, `name@version` a certain one."""
    with services.transaction() as session:
        row = catalogue.find(session, tenant, name)
    return ModelDetail(**facts_of(row), spec=catalogue.spec_of(row))


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


def facts_of(row: Model) -> dict[str, Any]:
    """The members of a model's summary."""
    spec = catalogue.spec_of(row)
    ref = f"/v1/models/{spec.ref}"
    return {
        "name": spec.name,
        "version": spec.version,
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
        "links": ModelLinks(self=ref, preview=f"{ref}/preview.png"),
    }
