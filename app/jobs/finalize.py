"""The last step of a job: archives from its shards, its report, then `succeeded`.

A job whose report does not meet its gate ends as failed; the report stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from app.datasets.merging.images import RealImages
from app.datasets.rows import manifest_of
from app.db.tables import Job
from app.errors import GateFailedError, PoisonShardError
from app.jobs import lifecycle
from app.jobs.archiving import Transaction, Watch, build_archive, read_archive
from app.jobs.dispatch import Dispatcher
from app.jobs.formats import format_of
from app.jobs.merging import name_rows, real_part
from app.jobs.report import Finished, Judges, make_report
from app.storage import LocalStorage


def finalize_job(
    transaction: Transaction,
    storage: LocalStorage,
    dispatcher: Dispatcher,
    job_number: int,
    most_attempts: int,
    judges_of: Callable[[Job], Judges],
) -> None:
    """Build every archive that the job asked for and its report, and publish them together.

    Running it twice is harmless: each run writes files of its own, and one run publishes.
    """
    with transaction() as session:
        job = lifecycle.begin_finalization(session, job_number)
    if job is None:
        return
    if job.finalizations > most_attempts:
        raise PoisonShardError(
            f"Building the archives was begun {most_attempts} times and never finished: it seems "
            "to end the worker that runs it. Look into the worker's log, then submit again."
        )
    written: list[str] = []
    kept: Sequence[str] = ()
    try:
        watch = Watch(transaction, job_number)
        real = real_part(transaction, storage, job, written, watch)
        archives, delivered = _archives(transaction, storage, job, written, real)
        finished = Finished(job, manifest_of(job, storage), archives, delivered)
        report = make_report(transaction, storage, finished, judges_of(job), watch)
        written += report.keys
        kept = _publish(transaction, dispatcher, job, archives, report, real)
    finally:
        storage.delete_all(key for key in written if key not in kept)


def _archives(
    transaction: Transaction,
    storage: LocalStorage,
    job: Job,
    written: list[str],
    real: RealImages | None,
) -> tuple[list[lifecycle.StoredArchive], Counter[int]]:
    """The archives, and of each cell of the plan the samples that are in them."""
    archives, delivered = [], Counter[int]()
    for document in job.formats:
        delivered = Counter()
        archive = build_archive(transaction, storage, job, format_of(document), delivered, real)
        written.append(archive.object_key)
        read_archive(transaction, storage, job, archive, delivered)
        archives.append(archive)
    return archives, delivered


def _publish(
    transaction: Transaction,
    dispatcher: Dispatcher,
    job: Job,
    archives: Sequence[lifecycle.StoredArchive],
    report: lifecycle.StoredReport,
    real: RealImages | None,
) -> Sequence[str]:
    """End the job; the keys of what its rows name now."""
    if report.gate is None or report.gate.passed:
        with transaction() as session:
            published = lifecycle.succeed(session, dispatcher, job.number, archives, report)
            if published and real is not None:
                name_rows(session, job.number, real.rows.file)
        named = [*(archive.object_key for archive in archives), *report.keys]
        named += [real.rows.file.object_key] if real is not None else []
        return named if published else ()
    problem = GateFailedError(
        f"{report.gate.sentence} The report says more: GET /v1/jobs/{job.id}/report.html.",
        gate=report.gate.model_dump(mode="json"),
    ).problem()
    with transaction() as session:
        published = lifecycle.fail_at_gate(session, dispatcher, job.number, report, problem)
    return report.keys if published else ()
