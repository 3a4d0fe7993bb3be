"""What an attempt's process is told: everything it needs, as paths and plain data."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue
from app.datasets import real
from app.db.tables import Archive, Dataset, Job, RunKind
from app.errors import NotFoundError, RunError
from app.jobs.work import WorkerContext
from app.runs.lifecycle import Lease
from app.storage import LocalStorage


def order_of(context: WorkerContext, lease: Lease) -> dict[str, Any]:
    """The work of a run. Raises RunError where something that it needs is gone."""
    if lease.kind is RunKind.TRAINING:
        return _training(context, lease)
    return _evaluation(context, lease)


def _training(context: WorkerContext, lease: Lease) -> dict[str, Any]:
    with context.transaction() as session:
        dataset = _dataset(session, lease, lease.request["dataset"])
    config, settings = dict(lease.request["config"]), context.settings
    # Of this machine, not of the one that took the request.
    config["threads"] = min(config["threads"] or settings.training_threads,
                            settings.training_threads)  # fmt: skip
    config["device"] = settings.device
    return {
        "kind": lease.kind.value,
        "config": config,
        "dataset": _place(context.storage, dataset),
    }


def _evaluation(context: WorkerContext, lease: Lease) -> dict[str, Any]:
    request = lease.request
    with context.transaction() as session:
        against = _dataset(session, lease, request["against"])
        subject = _subject(session, context.storage, lease, request["subject"])
    return {
        "kind": lease.kind.value,
        "options": request["options"],
        "gate": request["gate"],
        "against": _place(context.storage, against),
        "subject": subject,
    }


def _subject(
    session: Session, storage: LocalStorage, lease: Lease, subject: dict[str, Any]
) -> dict[str, Any]:
    if subject.get("dataset"):
        return _place(storage, _dataset(session, lease, subject["dataset"]))
    if subject.get("job"):
        return _archive(session, storage, lease, subject["job"])
    model = catalogue.by_content(session, lease.tenant_id, subject["sha256"])
    if model is None:
        raise RunError(f"The model {subject['model']} was deleted. Name another one.")
    return {
        "spec": model.spec,
        "weights": str(storage.path(model.weights_key)),
        "plan": subject["plan"],
    }


def _dataset(session: Session, lease: Lease, dataset_id: str) -> Dataset:
    try:
        return real.find(session, lease.tenant_id, dataset_id)
    except NotFoundError as error:
        raise RunError(f"The dataset {dataset_id} was deleted. Upload it again.") from error


def _place(storage: LocalStorage, dataset: Dataset) -> dict[str, Any]:
    """Where a dataset is. Raises DatasetCorruptError where it is not what was uploaded."""
    return {
        "path": str(real.stored_file(storage, dataset)),
        "id": dataset.id,
        "name": dataset.name,
        "sha256": dataset.sha256,
    }


def _archive(session: Session, storage: LocalStorage, lease: Lease, job_id: str) -> dict[str, Any]:
    key = session.execute(
        sa.select(Archive.object_key)
        .join(Job, Job.number == Archive.job_number)
        .where(Job.tenant_id == lease.tenant_id, Job.id == job_id)
        .order_by(Archive.format)
        .limit(1)
    ).scalar_one_or_none()
    if key is None:
        raise RunError(f"The job {job_id} has no archive.")
    return {"path": str(storage.path(key)), "id": job_id, "name": job_id}
