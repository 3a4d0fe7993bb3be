"""Near duplicates across shards: found when all shards are stored, and drawn again.

A shard never waits for another one. When the last one is stored, the hashes of all are compared in
the order of the samples, and every sample that is near to one of an earlier shard is barred. Its
shard is run again: it draws what it drew, and for what is barred the next candidates of its stream.
That is repeated until nothing is near. What is barred follows from the hashes, these from the plan
and from what was barred before: no order, time or number of workers takes part.

The hashes lie beside the file of a shard. No row names them: the sweep at the end of the job takes
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.checks.duplicates import repeated
from app.checks.perceptual import Hashes
from app.db.tables import NOT_STORED, Job, JobState, Sample, Shard
from app.errors import PoisonShardError
from app.jobs import lifecycle
from app.jobs.dispatch import Dispatcher
from app.jobs.plan import Plan
from app.jobs.refusals import take_refusals
from app.storage import LocalStorage

Transaction = Callable[[], AbstractContextManager[Session]]
Stored = Sequence[sa.Row[Any]]
"""Of each shard that is done, in order: index, token, object_key, rows_key, work."""


def hashes_key(object_key: str) -> str:
    """Where the hashes of a shard are stored, by where its file is."""
    return f"{object_key}.hashes"


def store_hashes(storage: LocalStorage, object_key: str, hashes: Hashes) -> None:
    """Keep the hashes of a shard whose file is stored."""
    with storage.create(hashes_key(object_key)) as writer:
        writer.write(hashes.astype("<u8").tobytes())


def compare_shards(
    transaction: Transaction,
    storage: LocalStorage,
    dispatcher: Dispatcher,
    job_number: int,
    earlier: int,
    most_attempts: int,
) -> None:
    """Compare the shards of a job that are all stored; then finalize it, or have some run again.

    earlier: comparisons before this one. Running it twice is harmless: what was compared has to be
    what is there when that is written. Raises PoisonShardError when it was begun too often without
    being finished.
    """
    with transaction() as session:
        job = session.execute(sa.select(Job).where(Job.number == job_number)).scalar_one()
        stored = _stored(session, job, earlier)
        attempts = _count(session, job_number) if stored is not None else 0
    if stored is None:
        return
    if attempts > most_attempts:
        raise PoisonShardError(
            f"Comparing the shards was begun {most_attempts} times and never finished: it seems to "
            "end the worker that runs it. Look into the worker's log, then submit the job again."
        )
    plan = Plan.from_json(job.plan)
    duplicates = plan.checks.near_duplicates if plan.checks else None
    assert duplicates is not None
    hashes = [np.frombuffer(storage.read(hashes_key(shard.object_key)), "<u8") for shard in stored]
    barred = repeated(hashes, duplicates.distance)
    with transaction() as session:
        if not lifecycle.lock_running(session, job_number):
            return
        if _stored(session, job, earlier) != stored:
            return
        if not barred:
            lifecycle.begin_finalizing(session, dispatcher, job.tenant_id, (job.number, job.id))
            return
        _run_again(session, dispatcher, job, stored, barred)
    for index in barred:
        files = (stored[index].object_key, stored[index].rows_key)
        storage.delete_all([*filter(None, files), hashes_key(stored[index].object_key)])


def _stored(session: Session, job: Job, earlier: int) -> Stored | None:
    """All shards; None unless all are stored and were compared so often."""
    state = session.execute(sa.select(Job.state).where(Job.number == job.number)).scalar_one()
    if state != JobState.RUNNING:
        return None
    found = session.execute(
        sa.select(Shard.index, Shard.token, Shard.object_key, Shard.rows_key, Shard.work)
        .where(Shard.job_number == job.number, Shard.done_at.is_not(None))
        .order_by(Shard.index)
    ).all()
    compared = max((len((shard.work or {}).get("barred", ())) for shard in found), default=0)
    return found if len(found) == job.shards and compared == earlier else None


def _count(session: Session, job_number: int) -> int:
    """Runs of this comparison, with the one that begins now; it may be cut off at any point."""
    return session.execute(
        sa.update(Job)
        .where(Job.number == job_number)
        .values(comparisons=Job.comparisons + 1)
        .returning(Job.comparisons)
    ).scalar_one()


def _run_again(
    session: Session,
    dispatcher: Dispatcher,
    job: Job,
    stored: Stored,
    barred: dict[int, NDArray[np.int64]],
) -> None:
    """Put shards back on the queue, with what they must draw anew; the job's row is held."""
    session.execute(sa.update(Job).where(Job.number == job.number).values(comparisons=0))
    before = max(len((shard.work or {}).get("barred", ())) for shard in stored)
    for index, positions in barred.items():
        work = stored[index].work or {}
        known = work.get("barred", [])
        known = [*known, *([[]] * (before - len(known))), positions.tolist()]
        refused, samples = _reopen(session, job.number, index, known)
        session.execute(
            sa.update(Job)
            .where(Job.number == job.number)
            .values(
                shards_done=Job.shards_done - 1,
                samples_done=Job.samples_done - samples,
                refused=Job.refused - refused,
            )
        )
        take_refusals(session, job.number, work.get("refused", {}))
        dispatcher.shard(session, job.tenant_id, (job.number, job.id), index, before + 1)


def _reopen(
    session: Session, job_number: int, index: int, barred: list[list[int]]
) -> tuple[int, int]:
    """A shard as if it was never run, but for what is barred; its refusals and samples."""
    this = (Shard.job_number == job_number, Shard.index == index)
    refused, samples = session.execute(sa.select(Shard.refused, Shard.drawn).where(*this)).one()
    session.execute(sa.delete(Sample).where(Sample.job_number == job_number, Sample.shard == index))
    session.execute(
        sa.update(Shard)
        .where(*this)
        .values(
            **NOT_STORED,
            token=None,
            attempts=0,
            drawn=0,
            refused=0,
            work={"barred": barred},
        )
    )
    return refused, samples
