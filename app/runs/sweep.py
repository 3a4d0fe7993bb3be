"""What ended runs leave behind, and how it goes away."""

from __future__ import annotations

import sqlalchemy as sa

from app.db.session import now
from app.db.tables import TERMINAL_RUN, Run, RunState
from app.jobs.dispatch import Dispatcher
from app.jobs.sweep import Transaction
from app.runs.folders import clear
from app.storage import LocalStorage

_TERMINAL = [state.value for state in TERMINAL_RUN]


def sweep_ended_runs(
    transaction: Transaction, dispatcher: Dispatcher, storage: LocalStorage
) -> list[str]:
    """Clean up behind runs that have ended since the last sweep; returns their ids.

    A cancelled run keeps nothing, another one what it shows. The engine's rows go first: while one
    is there, a process may still write.
    """
    with transaction() as session:
        query = sa.select(Run).where(Run.state.in_(_TERMINAL), Run.swept_at.is_(None))
        ended = list(session.execute(query.order_by(Run.number).limit(100)).scalars())
    swept = [run for run in ended if dispatcher.forget(run.id)]
    for run in swept:
        _clear(storage, run)
        with transaction() as session:
            session.execute(
                sa.update(Run).where(Run.number == run.number).values(swept_at=now(session))
            )
    return [run.id for run in swept]


def remove_orphans(transaction: Transaction, storage: LocalStorage) -> None:
    """Clean up again behind swept runs that have files.

    An attempt that was frozen while its run ended may have written one since.
    """
    run_ids = {key.split("/")[1] for key in storage.list("runs")}
    for run_id in sorted(run_ids):
        with transaction() as session:
            query = sa.select(Run).where(Run.id == run_id, Run.swept_at.is_not(None))
            run = session.execute(query).scalar_one_or_none()
        if run is not None:
            _clear(storage, run)


def _clear(storage: LocalStorage, run: Run) -> None:
    clear(storage, run, keep=run.state != RunState.CANCELLED)
