"""Trainings and evaluations in the test's process, their work in a real one that only counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.db.tables import DEFAULT_TENANT, Run, RunKind
from app.jobs.work import WorkerStoppingError
from app.runs import lifecycle, work
from app.runs.process import Child
from app.runs.sweep import sweep_ended_runs
from app.wire import Tried
from models.spec import ModelSpec
from tests.harness import wait_for
from tests.local_worker import LocalWorker


def nothing_to_try(spec: ModelSpec, key: str) -> Tried:
    """Nothing that only counts leaves a model."""
    raise AssertionError(key)


class LocalRuns:
    """Submits runs and carries them out as a worker does."""

    def __init__(self, folder: Path, url: str, patch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.worker = LocalWorker(folder, url, **settings)
        self.context = self.worker.context
        self.storage = self.worker.storage
        patch.setattr(work, "Child", partial(Child, module="tests.small_child"))
        patch.setattr(work, "order_of", lambda _, lease: {"kind": "counting", **lease.request})
        patch.setattr(work, "LOOK_SECONDS", 0.02)
        patch.setattr(work, "REPORT_SECONDS", 0.05)

    def submit(self, key: str | None = None, needs: str = "ds_other", **options: Any) -> Run:
        """A queued run that counts."""
        with self.context.transaction() as session:
            return lifecycle.submit(
                session,
                self.context.dispatcher,
                tenant_id=DEFAULT_TENANT,
                kind=RunKind.EVALUATION,
                request={"options": options},
                needs=[needs],
                fingerprint="",
                idempotency_key=key,
            )

    def carry_out(self, run: Run) -> None:
        """As the durable engine would."""
        work.carry_out(self.context, nothing_to_try, run.number)

    @contextmanager
    def carrying_out(self, run: Run) -> Iterator[threading.Thread]:
        """The same beside the test; it has to end with the block."""

        def until_stopped() -> None:
            try:
                self.carry_out(run)
            except WorkerStoppingError:
                return

        thread = threading.Thread(target=until_stopped)
        thread.start()
        try:
            yield thread
        finally:
            thread.join(30)
        assert not thread.is_alive()

    def begin(self, run: Run, worker: str = "other") -> lifecycle.Lease | None:
        """An attempt of another worker."""
        with self.context.transaction() as session:
            attempts = self.context.settings.run_attempts
            dispatcher = self.context.dispatcher
            return lifecycle.begin(session, dispatcher, run.number, worker, attempts)

    def cancel(self, run: Run) -> None:
        """By its owner."""
        with self.context.transaction() as session:
            found = session.execute(sa.select(Run).where(Run.number == run.number)).scalar_one()
            lifecycle.cancel(session, self.context.dispatcher, found)

    def now(self, run: Run) -> Run:
        """The run as it is."""
        with self.context.transaction() as session:
            return session.execute(sa.select(Run).where(Run.number == run.number)).scalar_one()

    def counted(self, run: Run, step: int) -> Run:
        """The run, once it has counted that far."""
        found: list[Run] = []

        def look() -> bool:
            found[:] = [self.now(run)]
            return found[0].progress.get("step", 0) >= step

        wait_for(f"step {step}", look, 120)  # it starts with low priority
        return found[0]

    def sweep(self) -> list[str]:
        """What housekeeping does; the engine's own rows are taken as ended."""
        context = self.context
        with context.transaction() as session:
            session.execute(sa.delete(self.workflows))
        return sweep_ended_runs(context.transaction, context.dispatcher, self.storage)

    def files(self, run: Run) -> set[str]:
        """Names of the run's files below its attempts' folders."""
        return {key.split("/", 3)[3] for key in self.storage.list(f"runs/{run.id}")}

    def close(self) -> None:
        """Release threads and connections."""
        self.worker.close()

    @property
    def workflows(self) -> sa.TableClause:
        """The engine's own table."""
        postgres = self.worker.database.dialect.name == "postgresql"
        columns = [sa.column("workflow_uuid"), sa.column("queue_name")]
        return sa.table("workflow_status", *columns, schema="dbos" if postgres else None)
