"""Sample rows through the drivers' fast ways: nothing changed, all or nothing, known errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from app.datasets.database_rows import insert_samples
from app.datasets.manifest import FIELDS, SampleRow, as_records
from app.db.migrate import migrate
from app.db.session import create_engine, transaction
from app.db.tables import Sample
from app.errors import UnavailableError

JOB, SHARD = 2**40, 2**31 - 1
LARGEST = SampleRow(2**62, 2**31 - 1, 2**62, 2**62, 2**31 - 1, b"\xff" * 32, b"\0" * 32)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    migrate(database_url)
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def rows(count: int) -> list[SampleRow]:
    return [
        SampleRow(
            sample=7 * k,
            cell=k % 3,
            candidate=2**33 + k,
            offset=60 + 700 * k,
            length=k,
            file_sha256=hashlib.sha256(b"file %d" % k).digest(),
            pixel_sha256=hashlib.sha256(b"pixels %d" % k).digest(),
        )
        for k in range(count)
    ]


def stored(engine: sa.Engine) -> list[tuple[object, ...]]:
    table = Sample.__table__
    columns = [table.c[name] for name in ("job_number", "shard", *FIELDS)]
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns))]


@pytest.mark.parametrize("count", [0, 1, 137])
def test_rows_come_back_as_they_were(engine: sa.Engine, count: int) -> None:
    given = [*rows(count), LARGEST] if count else []
    with transaction(engine) as session:
        insert_samples(session, JOB, SHARD, as_records(given))
    assert stored(engine) == [(JOB, SHARD, *row) for row in given]


@pytest.mark.parametrize("count", [1, 137])
def test_rows_without_gaps_come_back_too(engine: sa.Engine, count: int) -> None:
    """As shards have them; on SQLite they go in by another statement."""
    given = [row._replace(sample=2**40 + k, candidate=k % 3) for k, row in enumerate(rows(count))]
    with transaction(engine) as session:
        insert_samples(session, JOB, SHARD, as_records(given))
    assert stored(engine) == [(JOB, SHARD, *row) for row in given]


@pytest.mark.parametrize("shard", [SHARD, 1])
def test_an_index_is_there_once(engine: sa.Engine, shard: int) -> None:
    with transaction(engine) as session:
        insert_samples(session, JOB, SHARD, as_records(rows(60)))
    with pytest.raises(sa.exc.IntegrityError), transaction(engine) as session:
        insert_samples(session, JOB, shard, as_records([LARGEST, *rows(1)]))
    assert len(stored(engine)) == 60


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_is_ended_makes_the_worker_wait(engine: sa.Engine) -> None:
    """As when the database is restarted: `UnavailableError` is what work is tried again on."""

    def insert_on_a_connection_that_ends() -> None:
        with transaction(engine) as session, engine.connect() as other:
            pid = session.execute(sa.select(sa.func.pg_backend_pid())).scalar_one()
            other.execute(sa.select(sa.func.pg_terminate_backend(pid, 5_000)))
            insert_samples(session, JOB, SHARD, as_records(rows(60)))

    with pytest.raises(UnavailableError):
        insert_on_a_connection_that_ends()
    assert stored(engine) == []
