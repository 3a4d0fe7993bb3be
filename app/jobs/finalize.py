"""The last step of a job: archives from its shards, its report, then `succeeded`.

A job whose report does not meet its gate ends as failed; the report stays.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue
from app.datasets.exports.content import ShardFile, Stored, stored
from app.datasets.exports.formats import RENDERINGS, write_export
from app.datasets.exports.metadata import beside
from app.datasets.imagefolder import Digests, write_imagefolder
from app.datasets.manifest import Manifest, StoredRow
from app.datasets.merging.images import RealImages
from app.datasets.readback import read_back
from app.datasets.rows import manifest_of
from app.db.tables import Job, JobState, Shard
from app.errors import GateFailedError, JobStoppedError, PoisonShardError
from app.jobs import lifecycle
from app.jobs.dispatch import Dispatcher
from app.jobs.formats import Format, ImageFolder, format_of
from app.jobs.merging import check_merged, name_rows, real_part
from app.jobs.plan import Plan
from app.jobs.report import Finished, Judges, make_report
from app.storage import LocalStorage

Transaction = Callable[[], AbstractContextManager[Session]]
_LOOK_SECONDS = 0.5
_ROWS_A_PAGE = 10_000


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
        watch = _Watch(transaction, job_number)
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
        archive = _build(transaction, storage, job, format_of(document), delivered, real)
        written.append(archive.object_key)
        _read_back(transaction, storage, job, archive, delivered)
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


def _build(
    transaction: Transaction,
    storage: LocalStorage,
    job: Job,
    export: Format,
    delivered: Counter[int],
    real: RealImages | None,
) -> lifecycle.StoredArchive:
    began = time.perf_counter()
    extension = RENDERINGS[export.type].extension
    key = f"jobs/{job.id}/archives/{export.type}.{secrets.token_hex(8)}.{extension}"
    with transaction() as session:
        licences = _licences(session, job)
    manifest = manifest_of(job, storage)
    shards = _shards(transaction, job.number)
    watch = _Watch(transaction, job.number)
    with storage.create(key) as writer:
        if isinstance(export, ImageFolder):
            digests = _counted(manifest.digests(transaction), delivered)
            rows = manifest.stored(transaction, _ROWS_A_PAGE)
            more = beside(manifest.plan, licences, rows) if export.metadata else None
            entries = write_imagefolder(
                writer, storage, manifest.plan, licences, shards, digests, watch, more, real
            )
        else:
            read = _Rows(transaction, manifest, watch)
            samples = _counted_rows(stored(manifest.plan, shards, read, storage), delivered)
            entries = write_export(writer, export, manifest.plan, licences, samples, real)
    return lifecycle.StoredArchive(
        export.type, key, writer.bytes, writer.sha256, entries, time.perf_counter() - began
    )


def _read_back(
    transaction: Transaction,
    storage: LocalStorage,
    job: Job,
    archive: lifecycle.StoredArchive,
    delivered: Counter[int],
) -> None:
    """Raises UnreadableArchiveError when its format's reader does not find every sample in it."""
    plan = Plan.from_json(job.plan)
    labels = Counter[int]()
    for cell, count in delivered.items():
        labels[plan.cells[cell].label] += count
    if plan.merge is not None:
        check_merged(storage.path(archive.object_key), archive.format)
        return
    watch = _Watch(transaction, job.number)
    read_back(storage.path(archive.object_key), archive.format, plan, labels, watch)


def _counted(pages: Digests, delivered: Counter[int]) -> Digests:
    """The pages; what goes by is counted by its cell."""
    for page in pages:
        delivered.update(cell for _, cell, _ in page)
        yield page


def _counted_rows(shards: Iterable[Stored], delivered: Counter[int]) -> Iterator[Stored]:
    """The samples of each shard, counted by their cells as they go by."""
    for shard in shards:
        delivered.update(row.cell for row in shard.rows)
        yield shard


def _licences(session: Session, job: Job) -> list[str]:
    plan = Plan.from_json(job.plan)
    found = [catalogue.by_content(session, job.tenant_id, model.sha256) for model in plan.models]
    return [model.spec["licence"] if model else "unknown" for model in found]


def _shards(transaction: Transaction, job_number: int, page_size: int = 500) -> Iterator[ShardFile]:
    after = -1
    while True:
        with transaction() as session:
            page = session.execute(
                sa.select(Shard.index, Shard.object_key, Shard.sha256)
                .where(Shard.job_number == job_number, Shard.index > after)
                .order_by(Shard.index)
                .limit(page_size)
            ).all()
        for index, object_key, sha256 in page:
            assert object_key is not None
            assert sha256 is not None
            yield ShardFile(object_key, sha256)
            after = index
        if len(page) < page_size:
            return


@dataclass(frozen=True, slots=True)
class _Rows:
    """Reads rows of the manifest, each range in a transaction of its own."""

    transaction: Transaction
    manifest: Manifest
    keep_going: Callable[[], None]

    def __call__(self, after: int, limit: int) -> list[StoredRow]:
        self.keep_going()
        if not limit:
            return []
        with self.transaction() as session:
            return self.manifest.rows.read(session, after, limit)


class _Watch:
    """Stops a finalization whose job was cancelled; looks at the database now and then."""

    def __init__(self, transaction: Transaction, job_number: int) -> None:
        self._transaction = transaction
        self._job_number = job_number
        self._next_look = 0.0

    def __call__(self) -> None:
        if time.monotonic() < self._next_look:
            return
        with self._transaction() as session:
            state = session.execute(
                sa.select(Job.state).where(Job.number == self._job_number)
            ).scalar_one()
        if state != JobState.FINALIZING:
            raise JobStoppedError(f"The job is {state}.")
        self._next_look = time.monotonic() + _LOOK_SECONDS
