"""Workers that stop without ending: killed by their supervisor, and never without a reason."""

from __future__ import annotations

import dataclasses
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.db.tables import Worker
from app.worker import announce
from tests.acceptance.checker import check_everything
from tests.acceptance.freezer import freeze
from tests.harness import Server, end, follow, ready_workers, serving, submit, wait_for
from tests.local_worker import FakeEngine, LocalWorker

COUNTS = {"bag": 1_000, "coat": 1_000}
HANG_SECONDS = 5.0
SETTINGS: dict[str, Any] = {
    "shard_samples": 250,
    "shard_window": 4,
    "engine_batch": 64,
    "hang_seconds": HANG_SECONDS,
    "lease_seconds": 3_600.0,  # so that nobody but the supervisor can help
}


@pytest.mark.parametrize(
    ("database_url", "writing"),
    [
        # Nobody can write to SQLite until it is killed. The others are easier for the service and
        # take as long, so the long suite has them.
        pytest.param("sqlite", True, id="sqlite-writing"),
        pytest.param("postgresql", True, id="postgresql-writing", marks=pytest.mark.soak),
        pytest.param("sqlite", False, id="sqlite-computing", marks=pytest.mark.soak),
        pytest.param("postgresql", False, id="postgresql-computing", marks=pytest.mark.soak),
    ],
    indirect=["database_url"],
)
def test_a_frozen_worker_is_killed_and_its_successor_ends_the_job(
    tmp_path: Path, database_url: str, writing: bool
) -> None:
    reader = sa.create_engine(database_url, poolclass=sa.NullPool)
    settings = SETTINGS | {"database_url": database_url}
    with serving(tmp_path, **settings) as server, server.client() as client:
        job = submit(client, {"model": "fashion-cgan", "samples_per_class": COUNTS})
        wait_for("a running shard", lambda: _held(reader), 60)
        [frozen] = server.children()
        freeze(frozen, database_url, writing=writing)
        assert _held(reader), "it had nothing to do any more when it was frozen"
        assert follow(client, job["id"], 120).job["state"] == "succeeded"
        assert frozen not in server.children()
        assert "worker 0 has given no sign of life for 5 s" in server.log
        wait_for("the sweep", lambda: _swept(reader), 30)
    check_everything(reader, tmp_path / "objects", {job["id"]: COUNTS})


def test_a_worker_that_waits_for_the_database_is_not_taken_for_frozen(tmp_path: Path) -> None:
    settings = SETTINGS | {"lease_seconds": 1.0, "heartbeat_seconds": 0.2}
    with serving(tmp_path, **settings) as server, httpx.Client(base_url=server.url) as client:
        before = server.children()
        # Ready comes before the worker's last write of its start, which waits in its own way.
        wait_for("the end of its start", lambda: " runs on " in server.log, 60)
        with _locked(tmp_path / "synthloom.db"):
            wait_for("the end of its lease", lambda: ready_workers(client) == 0, 120)
            threading.Event().wait(1.5 * HANG_SECONDS)  # the worker's own patience is longer
        wait_for("its heartbeat", lambda: ready_workers(client) == 1, 60)
        assert server.children() == before
        assert "sign of life" not in server.log


def test_workers_end_with_a_server_that_died_without_hearing_them(tmp_path: Path) -> None:
    database = sa.create_engine(f"sqlite:///{tmp_path / 'synthloom.db'}", poolclass=sa.NullPool)
    server = Server(tmp_path, 1, hang_seconds=1.0, heartbeat_seconds=0.2)
    try:
        server.wait_ready()
        [worker] = server.children()
        end(server.pid, signal.SIGSTOP)
        for _ in range(3):  # its signs of life are more frequent, and nobody takes them
            last = _seen(database)
            wait_for("a heartbeat", lambda before=last: _seen(database) != before, 60)
    finally:
        server.kill()
    wait_for("the end of the worker", lambda: not Path(f"/proc/{worker}/cwd").exists(), 60)


def test_a_first_heartbeat_waits_for_a_busy_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "synthloom.db"
    local = LocalWorker(tmp_path, f"sqlite:///{path}", heartbeat_seconds=0.05)
    sa.event.listen(local.database, "connect", _impatient)
    local.database.dispose()
    context = dataclasses.replace(local.context, engine=_Engine())
    door: Any = SimpleNamespace(address="", token="")
    first = threading.Thread(target=announce, args=(context, door), daemon=True)
    with _locked(path):
        first.start()
        wait_for("a refused heartbeat", lambda: "The database does not answer" in caplog.text)
    first.join(30)
    with context.transaction() as session:
        assert session.execute(sa.select(Worker.id)).scalars().all() == [context.worker_id]
    local.close()


class _Engine(FakeEngine):
    environment = {"device": "none", "device_name": "none"}


def _impatient(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout=10")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Nobody else writes to a SQLite database within this block."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def _held(reader: sa.Engine) -> int:
    """Shards that were begun for the first time and not committed."""
    return _count(reader, "SELECT count(*) FROM shards WHERE attempts = 1 AND done_at IS NULL")


def _swept(reader: sa.Engine) -> bool:
    return not _count(reader, "SELECT count(*) FROM jobs WHERE swept_at IS NULL")


def _seen(reader: sa.Engine) -> str:
    with reader.connect() as connection:
        return str(connection.execute(sa.text("SELECT max(seen_at) FROM workers")).scalar_one())


def _count(reader: sa.Engine, query: str) -> int:
    with reader.connect() as connection:
        return int(connection.execute(sa.text(query)).scalar_one())
