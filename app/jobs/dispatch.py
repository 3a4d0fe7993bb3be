"""The durable engine (DBOS Transact), behind one small class: who runs what, and when again.

The plan, the ledger of shards and the state of a job live in our own tables; the engine only
remembers which workflow has to run. Workflows are named here and written in `app.worker`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from dbos import DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions
from sqlalchemy.orm import Session

from app.db.tables import Job, Run

APPLICATION = "synthloom"
APPLICATION_VERSION = "1"
"""Pinned: the engine's default is a hash of the code, and each deploy would strand the queue.
Raise it only when queued work of the older version can't be run by the newer code."""

QUEUE = "shards"
RUNS_QUEUE = "runs"
"""Trainings and evaluations: long, and one a worker, so they never take the place of a shard."""
RUN_SHARD = "run_shard"
COMPARE_SHARDS = "compare_shards"
FINALIZE_JOB = "finalize_job"
WEBHOOKS_QUEUE = "webhooks"
"""Of their own, so that a slow receiver takes no shard's place."""
QUEUES = (QUEUE, RUNS_QUEUE, WEBHOOKS_QUEUE)
CARRY_OUT_RUN = "carry_out_run"
DELIVER_WEBHOOK = "deliver_webhook"
DELIVER_RUN_WEBHOOK = "deliver_run_webhook"

Running = Mapping[str, Mapping[str, Sequence[str]]]
"""Worker id → queue → workflows."""

_PAGE = 1_000
_UNFINISHED = ("PENDING", "ENQUEUED")

SERIALIZER = DBOSPortableJSONSerializer()
"""JSON in the engine's tables. Its default is pickle, and a database must not be code."""


class Dispatcher:
    """Puts work on the queue inside the caller's transaction, and hands back lost work."""

    def __init__(self, engine: sa.Engine) -> None:
        self._client = DBOSClient(
            system_database_engine=engine,
            serializer=SERIALIZER,
            application_name=APPLICATION,
            lazy=True,
        )

    def shard(
        self, session: Session, tenant: str, job: tuple[int, str], index: int, again: int = 0
    ) -> None:
        """Queue one shard of a job (number, id). The id makes it idempotent.

        again: comparisons that it was run before.
        """
        name = f"{job[1]}-{index:06d}-{again}" if again else f"{job[1]}-{index:06d}"
        self._enqueue(session, RUN_SHARD, name, tenant, job[0], index)

    def comparison(self, session: Session, tenant: str, job: tuple[int, str], earlier: int) -> None:
        """Queue the comparison of all shards of a job (number, id), after so many earlier ones."""
        name = f"{job[1]}-compare-{earlier}"
        self._enqueue(session, COMPARE_SHARDS, name, tenant, job[0], earlier)

    def finalization(self, session: Session, tenant: str, job: tuple[int, str]) -> None:
        """Queue the last step of a job (number, id)."""
        self._enqueue(session, FINALIZE_JOB, f"{job[1]}-finalize", tenant, job[0])

    def run(self, session: Session, tenant: str, run: tuple[int, str]) -> None:
        """Queue a training or an evaluation (number, id)."""
        self._enqueue(session, CARRY_OUT_RUN, f"{run[1]}-run", tenant, run[0], queue=RUNS_QUEUE)

    def webhook(self, session: Session, ended: Job | Run, attempt: int, wait: float = 0.0) -> None:
        """Queue an attempt to tell of the end of a job or a run, in `wait` seconds.

        Its id is not one of the job's, which may be forgotten before.
        """
        self._enqueue(
            session,
            DELIVER_WEBHOOK if isinstance(ended, Job) else DELIVER_RUN_WEBHOOK,
            f"webhook-{ended.id}-{attempt:04d}",
            ended.tenant_id,
            ended.number,
            attempt,
            queue=WEBHOOKS_QUEUE,
            wait=wait,
        )

    def forget_ended(self, queue: str) -> None:
        """Delete the engine's rows of what has ended on a queue; it keeps them for ever."""
        ended = self._client.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"],
            queue_name=queue,
            limit=_PAGE,
            load_input=False,
            load_output=False,
        )
        if ended:
            self._client.delete_workflows([workflow.workflow_id for workflow in ended])

    def running(self) -> Running:
        """Worker id → queue → workflows of it that the engine believes the worker is running."""
        found: dict[str, dict[str, list[str]]] = {}
        for workflow in self._client.list_workflows(
            status="PENDING", queue_name=list(QUEUES), load_input=False, load_output=False
        ):
            of_worker = found.setdefault(workflow.executor_id or "", {})
            of_worker.setdefault(workflow.queue_name or QUEUE, []).append(workflow.workflow_id)
        return found

    def run_again(self, workflow_ids: Sequence[str], queue: str = QUEUE) -> None:
        """Queue again what a worker was running that is silent, or that has lost it.

        Should the worker be only slow, its commits are refused: a wrong suspicion costs work.
        """
        self._client.resume_workflows(list(workflow_ids), queue_name=queue)

    def forget(self, job_id: str) -> bool:
        """Delete the engine's rows of a job that has ended; it keeps them for ever otherwise.

        False: some of its work has not noticed yet that the job has ended.
        """
        while found := self._client.list_workflows(
            workflow_id_prefix=f"{job_id}-",
            limit=_PAGE,
            load_input=False,
            load_output=False,
        ):
            ended = [w.workflow_id for w in found if w.status not in _UNFINISHED]
            if ended:
                self._client.delete_workflows(ended)
            if len(ended) < len(found):
                return False
        return True

    def close(self) -> None:
        """Release the client; the engine it was given stays open."""
        self._client.destroy()

    def _enqueue(
        self,
        session: Session,
        workflow: str,
        workflow_id: str,
        tenant: str,
        *args: int,
        queue: str = QUEUE,
        wait: float = 0.0,
    ) -> None:
        options: EnqueueOptions = {
            "workflow_name": workflow,
            "queue_name": queue,
            "workflow_id": workflow_id,
            "queue_partition_key": tenant,
            "app_version": APPLICATION_VERSION,
        }
        if wait:
            options["delay_seconds"] = wait
        self._client.enqueue_in_transaction(session, options, *args)
