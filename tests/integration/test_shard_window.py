"""Every shard reaches the queue, whatever the workers' own settings say by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.db.tables import Job
from tests.local_worker import LocalWorker


def queued(local: LocalWorker, job: Job) -> set[int]:
    """Shards of the job that the engine was asked to run."""
    found = local.context.dispatcher._client.list_workflows(workflow_id_prefix=f"{job.id}-")
    names = [workflow.workflow_id.rpartition("-")[2] for workflow in found]
    return {int(name) for name in names if name != "finalize"}


@pytest.mark.parametrize("later", [1, 2, 9])
def test_a_window_that_changes_on_the_way_leaves_no_gap(
    database_url: str, tmp_path: Path, later: int
) -> None:
    local = LocalWorker(tmp_path / "data", database_url, shard_samples=5, shard_window=3)
    try:
        job = local.submit({"bag": 50})
        assert job.shards == 10
        assert queued(local, job) == {0, 1, 2}
        local.context.settings = local.settings.model_copy(update={"shard_window": later})
        ran: set[int] = set()
        while waiting := queued(local, job) - ran:
            assert len(waiting) <= 3
            local.run_shards(job, range(min(waiting), min(waiting) + 1))
            ran.add(min(waiting))
        assert ran == set(range(10))
        local.finalize(job)
        assert local.state(job) == "succeeded"
    finally:
        local.close()
