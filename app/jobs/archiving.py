"""One archive of a job: built from its shards, and read again before anybody gets it."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import catalogue
from app.datasets.exports.content import ShardFile, stored
from app.datasets.exports.formats import RENDERINGS, write_export
from app.datasets.exports.metadata import beside
from app.datasets.imagefolder import DIGESTS, write_imagefolder
from app.datasets.manifest import FIELDS, Records
from app.datasets.merging.images import RealImages
from app.datasets.readback import read_back
from app.datasets.rows import manifest_of
from app.db.tables import Job, JobState, Shard
from app.errors import JobStoppedError
from app.jobs import lifecycle
from app.jobs.formats import Format, ImageFolder
from app.jobs.merging import check_merged
from app.jobs.plan import Plan
from app.storage import LocalStorage

Transaction = Callable[[], AbstractContextManager[Session]]
_LOOK_SECONDS = 0.5
_ROWS_A_PAGE = 10_000
_FIELDS = [name for name in FIELDS if name != "index"]


def build_archive(
    transaction: Transaction,
    storage: LocalStorage,
    job: Job,
    export: Format,
    delivered: Counter[int],
    real: RealImages | None = None,
) -> lifecycle.StoredArchive:
    """Write one archive of a job whose samples are all stored.

    delivered: counts the samples of each cell of the plan as they go in. Raises DamagedShardError
    when a shard is not the one that was stored, JobStoppedError when the job was cancelled.
    """
    began = time.perf_counter()
    extension = RENDERINGS[export.type].extension
    key = f"jobs/{job.id}/archives/{export.type}.{secrets.token_hex(8)}.{extension}"
    with transaction() as session:
        licences = _licences(session, job)
    manifest = manifest_of(job, storage)
    shards = _shards(transaction, job.number)
    watch = Watch(transaction, job.number)
    with storage.create_large(key) as writer:
        if isinstance(export, ImageFolder):
            digests = _counted(manifest.records(transaction, DIGESTS), delivered, watch)
            rows = manifest.stored(transaction, _ROWS_A_PAGE)
            listed = real.rows if real is not None else None
            more = beside(manifest.plan, licences, rows, listed) if export.metadata else None
            entries = write_imagefolder(
                writer, storage, manifest.plan, licences, shards, digests, watch, more, real
            )
        else:
            pages = _counted(manifest.records(transaction, _FIELDS), delivered, watch)
            samples = stored(shards, pages, storage)
            entries = write_export(writer, export, manifest.plan, licences, samples, real)
    return lifecycle.StoredArchive(
        export.type, key, writer.bytes, writer.sha256, entries, time.perf_counter() - began
    )


def read_archive(
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
    watch = Watch(transaction, job.number)
    read_back(storage.path(archive.object_key), archive.format, plan, labels, watch)


def _counted(
    pages: Iterable[Records], delivered: Counter[int], keep_going: Callable[[], None]
) -> Iterator[Records]:
    """The pages; what goes by is counted by its cell."""
    for page in pages:
        keep_going()
        cells, counts = np.unique(page["cell"], return_counts=True)
        delivered.update(dict(zip(cells.tolist(), counts.tolist(), strict=True)))
        yield page


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


class Watch:
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
