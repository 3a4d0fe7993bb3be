"""Transactions on SQLite: shared by processes, and failing in our own words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.db.session import create_engine, now, storable, transaction
from app.db.tables import ApiKey, Base, Tenant
from app.errors import StorageFullError, SynthloomError, UnavailableError


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def tenant(name: str, moment: datetime | None = None) -> Tenant:
    return Tenant(id=name, created_at=moment or datetime.now(UTC))


def names(engine: sa.Engine) -> list[str]:
    with transaction(engine) as session:
        return list(session.execute(sa.select(Tenant.id).order_by(Tenant.id)).scalars())


def test_a_block_that_ends_well_is_committed(engine: sa.Engine) -> None:
    with transaction(engine) as session:
        session.add(tenant("a"))
    assert names(engine) == ["a"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, UnavailableError])
def test_a_block_that_does_not_leaves_nothing(
    engine: sa.Engine, error: type[BaseException]
) -> None:
    def add_and_fail() -> None:
        with transaction(engine) as session:
            session.add(tenant("a"))
            session.flush()
            raise error("stop")

    with pytest.raises(error):
        add_and_fail()
    assert names(engine) == []
    assert engine.pool.checkedout() == 0


def test_every_connection_is_durable_and_shared(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        pragmas = {
            name: connection.execute(sa.text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


WRITER = """
import sys
import sqlalchemy as sa
from datetime import UTC, datetime
from app.db.session import create_engine, transaction
from app.db.tables import Tenant
engine = create_engine(sys.argv[1])
for k in range(int(sys.argv[3])):
    with transaction(engine) as session:
        session.execute(sa.select(sa.func.count()).select_from(Tenant)).scalar_one()
        session.add(Tenant(id=f"{sys.argv[2]}-{k}", created_at=datetime.now(UTC)))
"""


def test_processes_that_read_and_write_at_once_wait_for_each_other(engine: sa.Engine) -> None:
    writers, each = 4, 50
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(engine.url), str(writer), str(each)],
            stderr=subprocess.PIPE,
        )
        for writer in range(writers)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in started]
    assert errors == [""] * writers
    assert len(names(engine)) == writers * each


def test_a_conflict_is_left_to_the_caller(engine: sa.Engine) -> None:
    def twice() -> None:
        with transaction(engine) as session:
            session.add_all([tenant("a"), tenant("a")])

    with pytest.raises(IntegrityError):
        twice()


def test_a_row_of_nobody_is_refused(engine: sa.Engine) -> None:
    def orphan() -> None:
        with transaction(engine) as session:
            digest = b"x" * 32
            session.add(
                ApiKey(tenant_id="none", name="x", digest=digest, created_at=datetime.now(UTC))
            )

    with pytest.raises(IntegrityError):
        orphan()


def execute(engine: sa.Engine, statement: str) -> None:
    with transaction(engine) as session:
        session.execute(sa.text(statement))


def test_a_full_disk_is_named(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        pages = connection.execute(sa.text("PRAGMA page_count")).scalar_one()
        connection.execute(sa.text(f"PRAGMA max_page_count = {pages}"))
        connection.commit()
    blob = "INSERT INTO api_keys (tenant_id, name, digest, created_at) VALUES ('a', 'x', zeroblob(99999), 0)"  # noqa: E501  # fmt: skip
    execute(engine, "INSERT INTO tenants VALUES ('a', '2026-01-01 00:00:00')")
    with pytest.raises(StorageFullError, match="Free some space"):
        execute(engine, blob)


def test_a_database_that_is_locked_for_long_is_unavailable(engine: sa.Engine) -> None:
    impatient = sa.create_engine(engine.url, connect_args={"timeout": 0.05})
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO tenants VALUES ('a', '2026-01-01 00:00:00')"))
        with pytest.raises(UnavailableError) as refusal:
            execute(impatient, "INSERT INTO tenants VALUES ('b', '2026-01-01 00:00:00')")
        assert refusal.value.retry_after_seconds
    impatient.dispose()


def test_too_many_at_once_are_told_to_come_again(engine: sa.Engine) -> None:
    small = sa.create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with small.connect(), pytest.raises(UnavailableError, match="in use"):
        execute(small, "SELECT 1")
    small.dispose()


def test_a_statement_that_makes_no_sense_is_a_bug_of_ours(engine: sa.Engine) -> None:
    raw = sa.text("SELECT * FROM tenants WHERE id = :id")

    def ask() -> None:
        with transaction(engine) as session:
            session.execute(raw, {"id": object()})

    with pytest.raises(SynthloomError, match="refused a statement"):
        ask()


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))])
def test_moments_come_back_as_utc(engine: sa.Engine, zone: timezone) -> None:
    moment = datetime(2026, 3, 1, 23, 30, 0, 123456, zone)
    with transaction(engine) as session:
        session.add(tenant("a", moment))
    with transaction(engine) as session:
        found = session.get_one(Tenant, "a").created_at
    assert found == moment
    assert found.tzinfo is UTC


def test_the_clock_is_aware(engine: sa.Engine) -> None:
    with transaction(engine) as session:
        assert now(session).tzinfo is UTC


def test_what_no_database_can_hold() -> None:
    assert storable("a\N{SNOWMAN}")
    assert not storable("a\x00")
