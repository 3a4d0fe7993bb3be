"""Workers that die for good, and workers that were only frozen."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.acceptance.checker import check_everything
from tests.acceptance.freezer import freeze
from tests.harness import Server, ServiceProcess, end, follow, submit, wait_for, worker

COUNTS = {"bag": 1_000, "coat": 1_000}
SETTINGS: dict[str, Any] = {
    "shard_samples": 250,
    "shard_window": 4,
    "engine_batch": 64,
    "heartbeat_seconds": 0.3,
    "lease_seconds": 2.0,
}


@pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)],
    indirect=True,
)
def test_the_shards_of_a_worker_that_never_comes_back_are_run_by_another(
    tmp_path: Path, database_url: str
) -> None:
    settings = SETTINGS | {"database_url": database_url}
    server = Server(tmp_path, workers=0, **settings)
    first = worker(tmp_path, "first", **settings)
    second: ServiceProcess | None = None
    try:
        server.wait_ready(workers=1)
        with server.client() as client:
            job = submit(client, {"model": "fashion-cgan", "samples_per_class": COUNTS})
            wait_for("a running shard", lambda: _run_by(database_url, "first"), 60)
            first.kill()
            second = worker(tmp_path, "second", **settings)
            assert follow(client, job["id"], 120).job["state"] == "succeeded"
        wait_for("the sweep", lambda: _swept(database_url), 30)
        assert _run_by(database_url, "second")
        check_everything(_reader(database_url), tmp_path / "objects", {job["id"]: COUNTS})
        assert second.stop() == 0
    finally:
        for process in (server, first, second):
            if process is not None:
                process.kill()


@pytest.mark.parametrize(
    ("database_url", "writing"),
    # A frozen writer keeps everybody from writing to SQLite until it is killed: test_frozen.py.
    # Where it holds locks is the hard case; the others are in the long suite.
    [
        pytest.param("sqlite", False, id="sqlite", marks=pytest.mark.soak),
        pytest.param("postgresql", False, id="postgresql", marks=pytest.mark.soak),
        pytest.param("postgresql", True, id="postgresql-writing"),
    ],
    indirect=["database_url"],
)
def test_a_frozen_worker_that_wakes_up_commits_nothing(
    tmp_path: Path, database_url: str, writing: bool
) -> None:
    settings = SETTINGS | {"database_url": database_url}
    server = Server(tmp_path, workers=0, **settings)
    frozen, awake = worker(tmp_path, "frozen", **settings), None
    try:
        server.wait_ready(workers=1)
        with server.client() as client:
            job = submit(client, {"model": "fashion-cgan", "samples_per_class": COUNTS})
            wait_for("a running shard", lambda: _held_by(database_url, "frozen"), 60)
            freeze(frozen.pid, database_url, writing=writing)
            held = _held_by(database_url, "frozen")
            assert held, "it had nothing to commit when it was frozen"
            awake = worker(tmp_path, "awake", **settings)
            assert follow(client, job["id"], 120).job["state"] == "succeeded"
            assert held <= _run_by(database_url, "awake")
            end(frozen.pid, signal.SIGCONT)
            # It is itself again once it says so; whatever it had begun was refused by then.
            wait_for("its heartbeat", lambda: server.wait_ready(workers=2), 60)
            assert follow(client, job["id"]).job["state"] == "succeeded"
        wait_for("the sweep", lambda: _swept(database_url), 30)
        assert frozen.stop() == 0
        check_everything(_reader(database_url), tmp_path / "objects", {job["id"]: COUNTS})
    finally:
        for process in (server, frozen, awake):
            if process is not None:
                process.kill()


def _run_by(database_url: str, worker_id: str) -> set[int]:
    """The shards whose last run is this worker's."""
    return _shards(database_url, 'SELECT "index" FROM shards WHERE worker_id = :w', worker_id)


def _held_by(database_url: str, worker_id: str) -> set[int]:
    """The shards that this worker has begun and not committed."""
    query = 'SELECT "index" FROM shards WHERE worker_id = :w AND done_at IS NULL'
    return _shards(database_url, query, worker_id)


def _swept(database_url: str) -> bool:
    with _reader(database_url).connect() as connection:
        query = sa.text("SELECT count(*) FROM jobs WHERE swept_at IS NULL")
        return not connection.execute(query).scalar_one()


def _shards(database_url: str, query: str, worker_id: str) -> set[int]:
    with _reader(database_url).connect() as connection:
        return set(connection.execute(sa.text(query), {"w": worker_id}).scalars())


def _reader(database_url: str) -> sa.Engine:
    """An engine that keeps no connection open."""
    return sa.create_engine(database_url, poolclass=sa.NullPool)
