"""What is written in the transaction that ends a job, or a run, beside its state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

from sqlalchemy.orm import Session

from app.db.tables import Archive, Job, JobReport, Run
from app.jobs.dispatch import Dispatcher

if TYPE_CHECKING:
    from app.jobs.lifecycle import StoredArchive, StoredReport


def announce(
    session: Session, dispatcher: Dispatcher, table: type[Job] | type[Run], number: int
) -> None:
    """Queue the first attempt to tell whom the request named, if it named somebody."""
    ended = cast("Job | Run", session.get_one(table, number))
    if ended.webhook is not None:
        dispatcher.webhook(session, ended, 1)


def add_archives(
    session: Session, job_number: int, archives: Sequence[StoredArchive], moment: datetime
) -> None:
    """The rows of what can be downloaded."""
    session.add_all(
        Archive(
            job_number=job_number,
            format=stored.format,
            object_key=stored.object_key,
            bytes=stored.bytes,
            sha256=stored.sha256,
            entries=stored.entries,
            seconds=stored.seconds,
            created_at=moment,
        )
        for stored in archives
    )


def add_report(session: Session, job_number: int, report: StoredReport, moment: datetime) -> None:
    """The row of the report."""
    session.add(
        JobReport(
            job_number=job_number,
            verdict=report.verdict,
            gate=report.gate.model_dump(mode="json") if report.gate else None,
            json_key=report.json_key,
            json_bytes=report.json_bytes,
            json_sha256=report.json_sha256,
            html_key=report.html_key,
            html_bytes=report.html_bytes,
            html_sha256=report.html_sha256,
            seconds=report.seconds,
            created_at=moment,
        )
    )
