"""The manifest of a job, over its rows where they are."""

from __future__ import annotations

from app.datasets.database_rows import DatabaseRows
from app.datasets.manifest import Manifest
from app.datasets.merging.rows import RealRows
from app.datasets.parquet_rows import ParquetRows, RowsFile
from app.db.tables import Job, RowsIn
from app.jobs.plan import Plan
from app.storage import LocalStorage


def manifest_of(job: Job, storage: LocalStorage) -> Manifest:
    """The manifest of a job, which may be running or have ended."""
    plan = Plan.from_json(job.plan)
    real = _real_rows(job, plan, storage)
    if job.rows_in == RowsIn.PARQUET:
        return Manifest(job, plan, ParquetRows(job.number, plan, storage), real)
    return Manifest(job, plan, DatabaseRows(job.number), real)


def _real_rows(job: Job, plan: Plan, storage: LocalStorage) -> RealRows | None:
    if job.real_rows_key is None or job.real_rows_sha256 is None:
        return None
    file = RowsFile(job.real_rows_key, 0, job.real_rows_sha256)
    return RealRows(storage, file, plan.samples)


def place_of_rows(samples: int, most_in_database: int) -> RowsIn:
    """Where the rows of a new job of so many samples go."""
    return RowsIn.DATABASE if samples <= most_in_database else RowsIn.PARQUET
