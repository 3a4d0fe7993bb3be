"""How a model leaves: never while a job needs it, its row first, its files after. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue
from app.db.tables import DEFAULT_TENANT, LIVE, LIVE_RUN, Dataset, Job, Model, Run
from app.errors import (
    ConflictError,
    ModelInUseError,
    UnknownModelError,
    ValidationError,
)
from app.storage import LocalStorage
from models.zoo.catalogue import shipped

LEFT_SECONDS = 3_600.0
"""No registration takes this long: a file of this age that no row names was left by a crash."""
_JOBS_NAMED = 10

Transaction = Callable[[], AbstractContextManager[Session]]


def hold(session: Session, tenant_id: str, sha256s: Sequence[str]) -> None:
    """Keep models from being deleted until this transaction ends, in which a job names them.

    Call it after the first write: SQLite begins a transaction with that. Raises UnknownModelError
    when one was deleted since it was found.
    """
    held = session.execute(
        sa.select(Model.sha256)
        .where(Model.tenant_id == tenant_id, Model.sha256.in_(sha256s))
        .with_for_update(read=True, key_share=True)
    ).scalars()
    if set(sha256s) - set(held):
        raise UnknownModelError("A model of this request was deleted just now. Name another one.")


def delete(session: Session, tenant_id: str, ref: str) -> list[str]:
    """Delete `name@version`, or `name` where it has one version only.

    Returns the keys of its files: remove them once this transaction is committed. What stays after
    a crash, `LeftFiles` takes.
    Raises NotFoundError, ValidationError where the version has to be named, ConflictError for a
    shipped model, ModelInUseError.
    """
    catalogue.one_change_at_a_time(session, tenant_id)
    found = catalogue.named(session, tenant_id, ref)
    if len(found) > 1:
        there = ", ".join(f"{model.name}@{model.version}" for model in found[:20])
        raise ValidationError(f"{ref} has several versions; name the one to delete: {there}.")
    [model] = found
    _refuse_shipped(tenant_id, model)
    # The row first: from here on no job can be submitted that needs it. See `hold`.
    session.execute(sa.delete(Model).where(Model.id == model.id))
    _refuse_used(session, model)
    return [key for key in (model.weights_key, model.preview_key) if key]


class LeftFiles:
    """Files of models and datasets that no row names: of registrations and deletions that a crash
    has ended.

    A file is removed when it is old and was already left at the look before, so that a clock that
    jumps can't take one whose row is about to be committed. Look about once a minute.
    """

    def __init__(self) -> None:
        self._left: set[str] = set()

    def remove(self, transaction: Transaction, storage: LocalStorage) -> int:
        """Look, and remove what has to go; returns how many."""
        old = {
            key
            for folder in ("models", "datasets")
            for key in storage.list(folder)
            if storage.age_seconds(key) > LEFT_SECONDS
        }
        if old:
            with transaction() as session:
                models = session.execute(sa.select(Model.weights_key, Model.preview_key)).all()
                datasets = session.execute(sa.select(Dataset.file_key, Dataset.preview_key)).all()
            old -= {key for row in (*models, *datasets) for key in row}
        gone = old & self._left
        storage.delete_all(sorted(gone))
        self._left = old - gone
        return len(gone)


def _refuse_shipped(tenant_id: str, model: Model) -> None:
    if tenant_id == DEFAULT_TENANT and model.sha256 in {each.spec.sha256 for each in shipped()}:
        raise ConflictError(
            f"{model.name} comes with Synthloom and is registered again at each start, so it can't "
            "be deleted."
        )


def _refuse_used(session: Session, model: Model) -> None:
    jobs = list(
        session.execute(
            sa.select(Job.id)
            .where(
                Job.tenant_id == model.tenant_id,
                Job.state.in_([state.value for state in LIVE]),
                sa.cast(Job.plan, sa.Text).contains(model.sha256),
            )
            .order_by(Job.number)
            .limit(_JOBS_NAMED)
        ).scalars()
    )
    jobs += runs_needing(session, model.tenant_id, model.sha256)
    if jobs:
        raise ModelInUseError(
            f"{model.name}@{model.version} is needed by jobs that have not ended: "
            f"{', '.join(jobs)}. Wait for them, or cancel them.",
            jobs=jobs,
        )


def jobs_measured_against(session: Session, tenant_id: str, dataset_id: str) -> list[str]:
    """Ids of jobs that have not ended, and whose report needs a dataset."""
    found = session.execute(
        sa.select(Job.id)
        .where(
            Job.tenant_id == tenant_id,
            Job.state.in_([state.value for state in LIVE]),
            Job.report_asked["against"].as_string() == dataset_id,
        )
        .order_by(Job.number)
        .limit(_JOBS_NAMED)
    )
    return list(found.scalars())


def jobs_with_images_of(session: Session, tenant_id: str, sha256: str) -> list[str]:
    """Ids of jobs that have not ended and read a dataset, by its content: their archives shall hold
    it, or their samples must not be copies of it."""
    found = session.execute(
        sa.select(Job.id)
        .where(
            Job.tenant_id == tenant_id,
            Job.state.in_([state.value for state in LIVE]),
            sa.or_(
                Job.plan["merge"]["sha256"].as_string() == sha256,
                Job.plan[("checks", "copies", "sha256")].as_string() == sha256,
            ),
        )
        .order_by(Job.number)
        .limit(_JOBS_NAMED)
    )
    return list(found.scalars())


def runs_needing(session: Session, tenant_id: str, what: str) -> list[str]:
    """Ids of runs that have not ended and need a dataset or job (by its id) or a model (by its
    SHA-256)."""
    found = session.execute(
        sa.select(Run.id)
        .where(
            Run.tenant_id == tenant_id,
            Run.state.in_([state.value for state in LIVE_RUN]),
            sa.cast(Run.needs, sa.Text).contains(what),
        )
        .order_by(Run.number)
        .limit(_JOBS_NAMED)
    )
    return list(found.scalars())
