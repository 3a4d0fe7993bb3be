"""The real images of a job that is merged with a dataset: listed before its archives are built."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.datasets import real
from app.datasets.merging.images import RealImages, list_images
from app.datasets.merging.rows import RealRows
from app.datasets.parquet_rows import RowsFile
from app.datasets.verify import verify
from app.db.tables import Job
from app.errors import DatasetCorruptError, UnreadableArchiveError
from app.jobs.plan import Plan
from app.storage import LocalStorage

Transaction = Callable[[], AbstractContextManager[Session]]


def real_part(
    transaction: Transaction,
    storage: LocalStorage,
    job: Job,
    written: list[str],
    keep_going: Callable[[], None],
) -> RealImages | None:
    """The real images of a job, their rows stored; None where it is merged with nothing.

    written: the key of the rows is added. `keep_going` is called now and then, and raises to stop.
    Raises DatasetCorruptError.
    """
    plan = Plan.from_json(job.plan)
    if plan.merge is None:
        return None
    with transaction() as session:
        dataset = real.by_content(session, job.tenant_id, plan.merge.sha256)
    if dataset is None:
        raise DatasetCorruptError(
            f"The dataset {plan.merge.name} is gone. Upload it again, and submit the job again."
        )
    upload = real.stored_file(storage, dataset)
    key = f"jobs/{job.id}/real.{secrets.token_hex(8)}.parquet"
    written.append(key)
    with storage.create(key) as writer:
        list_images(plan, upload, writer, keep_going)
    rows = RealRows(storage, RowsFile(key, writer.bytes, writer.sha256), plan.samples)
    return RealImages(plan, plan.merge, upload, rows, keep_going)


def check_merged(path: Path, layout: str) -> None:
    """Read an archive from the disk before anybody gets it: every file, every image.

    Raises UnreadableArchiveError when it does not hold what it says.
    """
    found = verify(path)
    if not found.ok:
        raise UnreadableArchiveError(
            f"The {layout} archive does not hold what it says: {' '.join(found.problems[:3])} "
            "Check the disk, then submit the job again."
        )


def name_rows(session: Session, job_number: int, rows: RowsFile) -> None:
    """Note where the rows of real images are, in the transaction that publishes the archives."""
    session.execute(
        sa.update(Job)
        .where(Job.number == job_number)
        .values(real_rows_key=rows.object_key, real_rows_sha256=rows.sha256)
    )
