"""Real datasets that tenants have uploaded: rows, files, and how a worker reads them. No torch.

A dataset never changes. It comes and goes as models do: files before the row, a folder of its own
for each upload, and the row before the files when it is deleted.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.catalogue import one_change_at_a_time
from app.datasets.intake import refusals
from app.db.session import now, storable
from app.db.tables import Dataset
from app.errors import (
    ConflictError,
    DatasetCorruptError,
    DatasetInUseError,
    NotFoundError,
    UnknownDatasetError,
)
from app.jobs.merge import PlannedMerge
from app.storage import LocalStorage
from models.corpus.corpus import Corpus
from models.corpus.preprocessing import Preprocessing
from models.corpus.read import read, read_splits
from models.corpus.source import SPLITS, Split
from models.corpus.survey import Survey

PREFIX = "ds_"
_CHUNK = 1 << 20
_NAMED = 10

Users = Callable[[Session, Dataset], Sequence[str]]
"""Ids of what needs a dataset and has not ended."""


def nobody(session: Session, dataset: Dataset) -> Sequence[str]:
    """Where nothing can need a dataset."""
    return ()


def add(
    session: Session,
    storage: LocalStorage,
    tenant_id: str,
    dataset: Dataset,
    file: Path,
    preview: bytes,
) -> tuple[Dataset, bool]:
    """Keep a dataset; the same content again is the row that is there already, and False.

    dataset: a row of `draft`. Raises ConflictError when its name belongs to other content.
    """
    folder = f"datasets/{tenant_id}/{dataset.id}"
    keys = {f"{folder}/dataset": file, f"{folder}/preview.png": preview}
    dataset.file_key, dataset.preview_key = keys
    try:
        dataset.file_bytes, dataset.file_sha256 = _store(storage, dataset.file_key, file)
        with storage.create(dataset.preview_key) as writer:
            writer.write(preview)
        one_change_at_a_time(session, tenant_id)
        known = by_content(session, tenant_id, dataset.sha256)
        if known is None:
            refuse_other_content(session, tenant_id, dataset.name, dataset.sha256)
            dataset.created_at = now(session)
            session.add(dataset)
            session.flush()
            return dataset, True
    except BaseException:
        storage.delete_all(keys)
        raise
    storage.delete_all(keys)
    return known, False


def draft(tenant_id: str, name: str, survey: Survey, licence: str, attribution: str) -> Dataset:
    """The row of a dataset that is not stored yet."""
    return Dataset(
        id=f"{PREFIX}{secrets.token_hex(10)}",
        tenant_id=tenant_id,
        name=name,
        sha256=survey.sha256,
        survey=survey.model_dump(mode="json"),
        licence=licence,
        attribution=attribution,
    )


def find(session: Session, tenant_id: str, ref: str) -> Dataset:
    """The dataset of this id or name. Raises NotFoundError."""
    column = Dataset.id if ref.startswith(PREFIX) else Dataset.name
    query = sa.select(Dataset).where(Dataset.tenant_id == tenant_id, column == ref)
    found = session.execute(query).scalar_one_or_none() if storable(ref) else None
    if found is None:
        names = [dataset.name for dataset in every(session, tenant_id)]
        known = f"Known datasets: {', '.join(names[:20])}." if names else "There are none yet."
        raise NotFoundError(f"There is no dataset {ref[:100]!a}. {known}")
    return found


def every(session: Session, tenant_id: str) -> list[Dataset]:
    """All datasets of a tenant, the oldest first."""
    query = sa.select(Dataset).where(Dataset.tenant_id == tenant_id)
    return list(session.execute(query.order_by(Dataset.number)).scalars())


def by_content(session: Session, tenant_id: str, sha256: str) -> Dataset | None:
    """The dataset with this content."""
    return session.execute(
        sa.select(Dataset).where(Dataset.tenant_id == tenant_id, Dataset.sha256 == sha256)
    ).scalar_one_or_none()


def survey_of(dataset: Dataset) -> Survey:
    """What was found when it was uploaded."""
    return Survey.model_validate(dataset.survey)


def pinned(dataset: Dataset) -> PlannedMerge:
    """What the plan of a job that is merged with it keeps."""
    survey = survey_of(dataset)
    return PlannedMerge(
        name=dataset.name,
        sha256=dataset.sha256,
        licence=dataset.licence,
        attribution=dataset.attribution,
        counts={
            split: dict(zip(survey.classes, survey.counts[split], strict=True))
            for split in SPLITS
            if split in survey.counts
        },
    )


def refuse_other_content(session: Session, tenant_id: str, name: str, sha256: str) -> None:
    """Raises ConflictError when the name belongs to other content."""
    other = session.execute(
        sa.select(Dataset.id).where(
            Dataset.tenant_id == tenant_id, Dataset.name == name, Dataset.sha256 != sha256
        )
    ).scalar_one_or_none()
    if other is not None:
        raise ConflictError(
            f"{name} is the name of another dataset, {other}, and a dataset never changes. Give "
            "this one another name, or delete that one."
        )


def hold(session: Session, tenant_id: str, dataset_id: str) -> None:
    """Keep a dataset from being deleted until this transaction ends, in which a run names it.

    Call it after the first write: SQLite begins a transaction with that. Raises
    UnknownDatasetError when there is none, or it was deleted since it was found.
    """
    held = session.execute(
        sa.select(Dataset.id)
        .where(Dataset.tenant_id == tenant_id, Dataset.id == dataset_id)
        .with_for_update(read=True, key_share=True)
    ).scalar_one_or_none()
    if held is None:
        raise UnknownDatasetError(
            f"There is no dataset {dataset_id[:100]!a}; it may have been deleted just now."
        )


def hold_content(session: Session, tenant_id: str, name: str, sha256: str) -> None:
    """The same of the dataset with the content that a plan pins."""
    dataset = by_content(session, tenant_id, sha256)
    hold(session, tenant_id, name if dataset is None else dataset.id)


def delete(session: Session, tenant_id: str, ref: str, users: Users = nobody) -> list[str]:
    """Delete a dataset, unless one of `users` needs it.

    Returns the keys of its files: remove them once this transaction is committed. What stays after
    a crash, `deletion.LeftFiles` takes. Raises NotFoundError, DatasetInUseError.
    """
    one_change_at_a_time(session, tenant_id)
    dataset = find(session, tenant_id, ref)
    # The row first: from here on no run can be submitted that needs it. See `hold`.
    session.execute(sa.delete(Dataset).where(Dataset.number == dataset.number))
    if needed := list(users(session, dataset))[:_NAMED]:
        raise DatasetInUseError(
            f"{dataset.name} is needed by what has not ended: {', '.join(needed)}. Wait for it, or "
            "cancel it.",
            runs=needed,
        )
    return [dataset.file_key, dataset.preview_key]


def stored_file(storage: LocalStorage, dataset: Dataset) -> Path:
    """The file as it was uploaded, if it still is that. Raises DatasetCorruptError."""
    path = storage.path(dataset.file_key)
    digest = hashlib.sha256()
    with storage.open(dataset.file_key) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != dataset.file_sha256:
        raise DatasetCorruptError(
            f"The stored file of {dataset.name} is no longer what was uploaded. Restore it from a "
            "backup, or upload the dataset again under another name."
        )
    return path


def corpus_of(
    storage: LocalStorage,
    dataset: Dataset,
    split: Split | None = None,
    preprocessing: Preprocessing | None = None,
) -> Corpus:
    """One split, in memory; see `models.corpus.read.read`.

    Raises DatasetCorruptError, and UnsupportedDatasetError for a split that is not there or images
    whose size has to be stated.
    """
    path = stored_file(storage, dataset)
    with refusals():
        return read(path, split=split, preprocessing=preprocessing)


def splits_of(
    storage: LocalStorage, dataset: Dataset, preprocessing: Preprocessing | None = None
) -> Mapping[Split, Corpus]:
    """Every split; raises as `corpus_of` does."""
    path = stored_file(storage, dataset)
    with refusals():
        return read_splits(path, preprocessing=preprocessing)


def _store(storage: LocalStorage, key: str, source: Path) -> tuple[int, str]:
    with storage.create(key) as writer, source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            writer.write(chunk)
    return writer.bytes, writer.sha256
