"""Manifest rows inserted inside a shard-sized transaction, the commit included."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.datasets.database_rows import insert_samples
from app.datasets.manifest import SampleRow
from app.db.migrate import migrate
from app.db.session import create_engine
from app.db.tables import Job, Tenant
from tests.databases import fresh_postgres, postgres

ROWS, TRANSACTIONS = 5_000, 40


def rows_per_second(folder: Path) -> Iterator[dict[str, float]]:
    """SQLite as it is run, `synchronous = FULL`; PostgreSQL as the tests run it, without fsync."""
    yield {"rows_per_second_sqlite": _insert_rate(f"sqlite:///{folder / 'rows.db'}")}
    with postgres() as server:
        yield {"rows_per_second_postgresql": _insert_rate(fresh_postgres(server))}


def _insert_rate(url: str) -> float:
    migrate(url)
    engine = create_engine(url)
    with _job(engine) as number:
        took = 0.0
        for shard in range(TRANSACTIONS):
            rows = _rows(shard)
            began = time.perf_counter()
            with Session(engine) as session, session.begin():
                insert_samples(session, number, shard, rows)
            took += time.perf_counter() - began
    engine.dispose()
    return ROWS * TRANSACTIONS / took


def _rows(shard: int) -> list[SampleRow]:
    digests = [(secrets.token_bytes(32), secrets.token_bytes(32)) for _ in range(ROWS)]
    return [
        SampleRow(shard * ROWS + k, k % 10, k, 60 + 700 * k, 650, *digest)
        for k, digest in enumerate(digests)
    ]


@contextmanager
def _job(engine: sa.Engine) -> Iterator[int]:
    with Session(engine) as session, session.begin():
        session.add(Tenant(id="bench", created_at=datetime.now(UTC)))
        session.flush()
        job = Job(
            id="bench",
            tenant_id="bench",
            state="queued",
            plan={},
            formats=[],
            samples=ROWS * TRANSACTIONS,
            shards=TRANSACTIONS,
            shard_window=1,
            fingerprint="",
            created_at=datetime.now(UTC),
        )
        session.add(job)
        session.flush()
        number = job.number
    yield number
