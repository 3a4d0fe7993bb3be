"""Manifest rows per second through `lifecycle.commit_shard`, on both databases."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from app.datasets.manifest import SampleRow, as_records
from app.db.migrate import migrate
from app.db.session import create_engine, transaction
from app.db.tables import Tenant
from app.jobs import lifecycle
from app.jobs.dispatch import Dispatcher
from tests.builders import plan_of
from tests.databases import fresh_postgres, postgres

ROWS, SHARDS = 5_000, 41


def rows_per_second(folder: Path) -> Iterator[dict[str, float]]:
    """Of a shard's transaction: the job locked, the ledger marked, rows, counts, the commit on
    disk. All shards are queued before, as the queue is not what is measured. Medians over the
    shards of a job."""
    yield {"rows_per_second_sqlite": commit_rate(f"sqlite:///{folder / 'rows.db'}")}
    with postgres() as server:
        wait_for_the_disk(server)
        yield {"rows_per_second_postgresql": commit_rate(fresh_postgres(server))}


def commit_rate(url: str) -> float:
    """Rows per second of a job of `SHARDS` shards on an empty database."""
    migrate(url)
    engine = create_engine(url)
    dispatcher = Dispatcher(engine)
    with transaction(engine) as session:
        session.add(Tenant(id="bench", created_at=datetime.now(UTC)))
        session.flush()
        job = lifecycle.submit(
            session,
            dispatcher,
            tenant_id="bench",
            plan=plan_of([ROWS * SHARDS // 10] * 10, SHARDS),
            formats=[],
            window=SHARDS,
            fingerprint="",
            idempotency_key=None,
        )
    took: list[float] = []
    for shard in range(SHARDS):
        with transaction(engine) as session:
            lease = lifecycle.begin_shard(session, job.number, shard, "bench", most_attempts=1)
        assert lease is not None
        stored = _stored(shard)
        began = time.perf_counter()
        with transaction(engine) as session:
            assert lifecycle.commit_shard(session, dispatcher, lease, stored)
        took.append(time.perf_counter() - began)
    dispatcher.close()
    engine.dispose()
    return ROWS / statistics.median(took)


def wait_for_the_disk(server_url: str) -> None:
    """Undo what `postgres()` sets for tests: a commit counts when it would survive a power cut."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute("SELECT pg_reload_conf()")


def _stored(shard: int) -> lifecycle.StoredShard:
    random = secrets.token_bytes
    rows = [
        SampleRow(shard * ROWS + k, k % 10, k, 60 + 700 * k, 650, random(32), random(32))
        for k in range(ROWS)
    ]
    records = as_records(rows)
    return lifecycle.StoredShard(records, 700 * ROWS, "0" * 64, 0, 1.0, {"device": "none"}, {})
