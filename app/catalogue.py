"""Registered models: immutable, found by name, stored by content. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db.session import now, storable
from app.db.tables import Model
from app.errors import ConflictError, NotFoundError
from app.storage import LocalStorage
from models.files import weights_file
from models.probing.report import ProbeReport
from models.spec import ModelSpec

log = logging.getLogger(__name__)

_CHUNK = 1 << 20


def register(
    session: Session,
    storage: LocalStorage,
    tenant_id: str,
    spec: ModelSpec,
    weights: Path,
    preview: Path | None,
    probe: dict[str, Any] | None = None,
) -> Model:
    """Register a checkpoint; the same content again is the row that is there already.

    Files first, row after: a crash between them leaves files that nothing names. Raises
    ConflictError when the name and version belong to other content.

    probe: what was measured when the model was tried.
    """
    known = by_content(session, tenant_id, spec.sha256)
    if known is not None:
        return known
    refuse_other_content(session, tenant_id, spec)
    base = f"models/{tenant_id}/{spec.sha256}"
    weights_key = f"{base}/{weights_file(spec)}"
    preview_key = f"{base}/preview.png" if preview else None
    _store(storage, weights_key, weights)
    if preview and preview_key:
        _store(storage, preview_key, preview)
    model = Model(
        tenant_id=tenant_id,
        name=spec.name,
        version=spec.version,
        sha256=spec.sha256,
        spec=spec.model_dump(mode="json"),
        weights_key=weights_key,
        preview_key=preview_key,
        probe=probe,
        created_at=now(session),
    )
    session.add(model)
    session.flush()
    return model


def register_shipped(session: Session, storage: LocalStorage, tenant_id: str) -> None:
    """Register the models that come with the package."""
    from models.zoo.catalogue import shipped

    for directory, spec in shipped():
        preview = directory / "preview.png"
        try:
            register(
                session,
                storage,
                tenant_id,
                spec,
                directory / weights_file(spec),
                preview if preview.exists() else None,
            )
        except ConflictError as error:
            log.warning("the shipped model is left out: %s", error)


def find(session: Session, tenant_id: str, ref: str) -> Model:
    """The model of `name` (its newest version) or `name@version`.

    Raises NotFoundError; the names that exist are in its sentence.
    """
    name, at, version = ref.partition("@")
    query = sa.select(Model).where(Model.tenant_id == tenant_id, Model.name == name)
    if at:
        query = query.where(Model.version == version)
    found = list(session.execute(query).scalars()) if storable(ref) else []
    if not found:
        names = sorted({model.name for model in every(session, tenant_id)})
        known = f"Known models: {', '.join(names[:20])}." if names else "No model is registered."
        raise NotFoundError(f"There is no model {ref[:100]!a}. {known}")
    return max(found, key=_newness)


def every(session: Session, tenant_id: str) -> Iterator[Model]:
    """All models of a tenant, by name and version."""
    found = session.execute(sa.select(Model).where(Model.tenant_id == tenant_id)).scalars()
    yield from sorted(found, key=lambda model: (model.name, _newness(model)))


def by_content(session: Session, tenant_id: str, sha256: str) -> Model | None:
    """The model with this content."""
    return session.execute(
        sa.select(Model).where(Model.tenant_id == tenant_id, Model.sha256 == sha256)
    ).scalar_one_or_none()


def spec_of(model: Model) -> ModelSpec:
    """The spec of a registered model."""
    return ModelSpec.model_validate(model.spec)


def warnings_of(model: Model) -> list[str]:
    """Why what a model makes is not worth serving; empty for a good one."""
    if model.probe is None:
        return []
    return [finding.detail for finding in ProbeReport.model_validate(model.probe).degenerate]


def refuse_other_content(session: Session, tenant_id: str, spec: ModelSpec) -> None:
    """Raises ConflictError when the spec's name and version belong to other content."""
    other = session.execute(
        sa.select(Model.id).where(
            Model.tenant_id == tenant_id,
            Model.name == spec.name,
            Model.version == spec.version,
            Model.sha256 != spec.sha256,
        )
    ).scalar_one_or_none()
    if other is not None:
        raise ConflictError(
            f"{spec.ref} is registered with other content, and a version never changes. Give "
            "this one a version of its own."
        )


def _newness(model: Model) -> tuple[int, ...]:
    return tuple(int(part) for part in model.version.split("."))


def _store(storage: LocalStorage, key: str, source: Path) -> None:
    with storage.create(key) as writer, source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            writer.write(chunk)
