"""A worker's side of the durable engine: what it runs, and the queues that it takes from."""

from __future__ import annotations

from dbos import DBOS
from tenacity import Retrying

from app.db.tables import Job, Run
from app.generation_server import Try
from app.jobs.dispatch import (
    CARRY_OUT_RUN,
    COMPARE_SHARDS,
    DELIVER_RUN_WEBHOOK,
    DELIVER_WEBHOOK,
    FINALIZE_JOB,
    QUEUE,
    QUEUES,
    RUN_SHARD,
    RUNS_QUEUE,
    WEBHOOKS_QUEUE,
)
from app.jobs.work import WorkerContext, compare_job, finalize_job, guarded, run_shard
from app.runs.work import carry_out
from app.settings import Settings
from app.webhooks.delivery import deliver

SELDOM_SECONDS = 0.5
"""Least time between two looks for what takes minutes, or may come a little later."""
WEBHOOKS_AT_A_TIME = 4
"""Of one worker. Each waits for its receiver only."""


def register(context: WorkerContext, try_model: Try) -> None:
    """Tell the engine what a worker does with the work it takes; before its launch."""

    @DBOS.workflow(name=RUN_SHARD)
    def _run_shard(job_number: int, index: int) -> None:
        with context.busy(_workflow_id()):
            guarded(context, job_number, lambda: run_shard(context, job_number, index))

    @DBOS.workflow(name=COMPARE_SHARDS)
    def _compare_shards(job_number: int, earlier: int) -> None:
        with context.busy(_workflow_id()):
            guarded(context, job_number, lambda: compare_job(context, job_number, earlier))

    @DBOS.workflow(name=FINALIZE_JOB)
    def _finalize_job(job_number: int) -> None:
        with context.busy(_workflow_id()):
            guarded(context, job_number, lambda: finalize_job(context, job_number))

    @DBOS.workflow(name=CARRY_OUT_RUN)
    def _carry_out_run(run_number: int) -> None:
        with context.busy(_workflow_id()):
            carry_out(context, try_model, run_number)

    @DBOS.workflow(name=DELIVER_WEBHOOK)
    def _deliver_webhook(job_number: int, attempt: int) -> None:
        with context.busy(_workflow_id()):
            deliver(context, Job, job_number, attempt)

    @DBOS.workflow(name=DELIVER_RUN_WEBHOOK)
    def _deliver_run_webhook(run_number: int, attempt: int) -> None:
        with context.busy(_workflow_id()):
            deliver(context, Run, run_number, attempt)


def listen(settings: Settings, patient: Retrying) -> None:
    """Begin to take work. `patient` repeats what a database that is away can't take."""
    DBOS.listen_queues(list(QUEUES))
    DBOS.launch()
    often = settings.poll_seconds
    seldom = max(often, SELDOM_SECONDS)
    for name, at_a_time, seconds in (
        (QUEUE, settings.shard_concurrency, often),
        (RUNS_QUEUE, 1, seldom),
        (WEBHOOKS_QUEUE, WEBHOOKS_AT_A_TIME, seldom),
    ):
        patient(
            DBOS.register_queue,
            name,
            worker_concurrency=at_a_time,
            partition_worker_concurrency=at_a_time,
            polling_interval_sec=seconds,
        )


def _workflow_id() -> str:
    """Of the workflow that this thread runs."""
    found = DBOS.workflow_id
    assert found is not None
    return found
