"""Registered models: immutable, found by name, stored by content. Imports no torch."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.db.session import now, storable
from app.db.tables import Model, Tenant
from app.errors import ConflictError, NotFoundError, UnknownModelError
from app.storage import LocalStorage
from models.files import weights_file
from models.probing.report import ProbeReport
from models.spec import ModelSpec
from models.zoo.catalogue import shipped

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

    Files first, row after: a crash between them leaves files that nothing names. Each registration
    has a folder of its own, so that no deletion and no other registration touches its files.
    Raises ConflictError when the name and version belong to other content.

    probe: what was measured when the model was tried.
    """
    known = by_content(session, tenant_id, spec.sha256)
    if known is not None:
        return known
    refuse_other_content(session, tenant_id, spec)
    stored = _store(storage, f"models/{tenant_id}/{spec.sha256}", spec, weights, preview)
    try:
        one_change_at_a_time(session, tenant_id)
        known = by_content(session, tenant_id, spec.sha256)  # somebody else may have been faster
        if known is None:
            refuse_other_content(session, tenant_id, spec)
            return _add(session, tenant_id, spec, stored, probe)
    except BaseException:
        storage.delete_all(stored)
        raise
    storage.delete_all(stored)
    return known


def register_shipped(session: Session, storage: LocalStorage, tenant_id: str) -> None:
    """Register the models that come with the package."""
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
    """The model of `name` (its default version) or `name@version`. Raises NotFoundError."""
    found = named(session, tenant_id, ref)
    return default_of(found) if "@" not in ref else found[0]


def named(session: Session, tenant_id: str, ref: str) -> list[Model]:
    """Every version of `name`, the newest first, or the one of `name@version`.

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
    return sorted(found, key=_newness, reverse=True)


def versions(session: Session, tenant_id: str, name: str) -> list[Model]:
    """Every version of a name, the newest first. Raises NotFoundError."""
    if "@" in name:
        raise NotFoundError(f"{name[:100]!a} names one version; give the name alone.")
    return named(session, tenant_id, name)


def default_of(versions: Sequence[Model]) -> Model:
    """Of all versions of a name the one that it means: chosen last, else the newest."""
    return max(versions, key=_meant)


def choose(session: Session, tenant_id: str, name: str, version: str | None) -> list[Model]:
    """Make a version the one that the name means from now on; none: always the newest.

    Returns all versions, the newest first. Raises NotFoundError for the name, UnknownModelError
    for the version.
    """
    one_change_at_a_time(session, tenant_id)
    known = versions(session, tenant_id, name)
    if version is not None and version not in {model.version for model in known}:
        there = ", ".join(model.version for model in known[:20])
        raise UnknownModelError(f"{name} has no version {version[:40]!a}. There are: {there}.")
    moment = now(session)
    for model in known:
        model.chosen_at = moment if model.version == version else None
    session.flush()
    return known


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


def warnings_of_contents(session: Session, tenant_id: str, contents: Collection[str]) -> list[str]:
    """Why the models with these contents are not worth serving, each with its name."""
    degenerate = session.execute(
        sa.select(Model)
        .where(Model.tenant_id == tenant_id, Model.sha256.in_(contents), Model.probe.is_not(None))
        .order_by(Model.name, Model.id)
    ).scalars()
    return [
        f"{model.name}@{model.version} is degenerate: {warning}"
        for model in degenerate
        for warning in warnings_of(model)
    ]


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


def one_change_at_a_time(session: Session, tenant_id: str) -> None:
    """Wait for other changes of the tenant's catalogue, and keep them waiting until this
    transaction ends. An update, because that locks on every database, where SQLite has no
    SELECT … FOR UPDATE."""
    session.execute(
        sa.update(Tenant).where(Tenant.id == tenant_id).values(created_at=Tenant.created_at)
    )


def _meant(model: Model) -> tuple[float, tuple[int, ...]]:
    return model.chosen_at.timestamp() if model.chosen_at else 0.0, _newness(model)


def _newness(model: Model) -> tuple[int, ...]:
    return tuple(int(part) for part in model.version.split("."))


def _add(
    session: Session,
    tenant_id: str,
    spec: ModelSpec,
    stored: Sequence[str],
    probe: dict[str, Any] | None,
) -> Model:
    weights_key, *preview_key = stored
    model = Model(
        tenant_id=tenant_id,
        name=spec.name,
        version=spec.version,
        sha256=spec.sha256,
        spec=spec.model_dump(mode="json"),
        weights_key=weights_key,
        preview_key=preview_key[0] if preview_key else None,
        probe=probe,
        created_at=now(session),
    )
    session.add(model)
    session.flush()
    return model


def _store(
    storage: LocalStorage, base: str, spec: ModelSpec, weights: Path, preview: Path | None
) -> list[str]:
    """Keys of the stored weights and, if there is one, the stored preview."""
    folder = f"{base}/{secrets.token_hex(4)}"
    sources = {f"{folder}/{weights_file(spec)}": weights}
    if preview is not None:
        sources[f"{folder}/preview.png"] = preview
    try:
        for key, source in sources.items():
            with storage.create(key) as writer, source.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    writer.write(chunk)
    except BaseException:
        storage.delete_all(sources)
        raise
    return list(sources)
