"""The manifest of a job, over its rows where they are."""

from __future__ import annotations

from app.datasets.database_rows import DatabaseRows
from app.datasets.manifest import Manifest
from app.datasets.parquet_rows import ParquetRows
from app.db.tables import Job, RowsIn
from app.jobs.plan import Plan
from app.storage import LocalStorage


def manifest_of(job: Job, storage: LocalStorage) -> Manifest:
    """The manifest of a job, which may be running or have ended."""
    plan = Plan.from_json(job.plan)
    if job.rows_in == RowsIn.PARQUET:
        return Manifest(job, plan, ParquetRows(job.number, plan, storage))
    return Manifest(job, plan, DatabaseRows(job.number))


def place_of_rows(samples: int, most_in_database: int) -> RowsIn:
    """Where the rows of a new job of so many samples go."""
    return RowsIn.DATABASE if samples <= most_in_database else RowsIn.PARQUET
