"""One database engine for a process: SQLite embedded, PostgreSQL when many machines work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from app.errors import StorageFullError, SynthloomError, UnavailableError

BUSY_MILLISECONDS = 30_000


def create_engine(url: str, name: str = "synthloom") -> sa.Engine:
    """The engine for a URL, with what each database needs to be shared by processes.

    PostgreSQL: the connections carry `name`, by which `cut_off` finds them.

    SQLite: WAL, so that readers never wait; IMMEDIATE transactions, because one that reads and
    then writes would fail at once instead of waiting its turn; synchronous=FULL, because a row
    that was acknowledged must survive a power cut.
    """
    if not url.startswith("sqlite"):
        return sa.create_engine(
            url,
            pool_size=10,
            max_overflow=20,
            pool_pre_ping=True,
            connect_args={"application_name": name},
        )
    engine = sa.create_engine(url, pool_size=10, max_overflow=30)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[Session]:
    """A session whose work is committed at the end, or not at all.

    A database that is away becomes `UnavailableError`: the client is told to try again.
    """
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
    except IntegrityError:
        raise
    except PoolTimeoutError as error:
        raise UnavailableError(
            "Every connection to the database is in use. Try again in a few seconds.",
            retry_after_seconds=5,
        ) from error
    except OperationalError as error:
        if "full" in str(error.orig):
            raise StorageFullError(
                "The database's disk is full. Free some space, then try again."
            ) from error
        raise UnavailableError(
            "The database does not answer right now. Try again in a few seconds.",
            retry_after_seconds=5,
        ) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise UnavailableError(
                "The connection to the database was lost. Try again in a few seconds.",
                retry_after_seconds=5,
            ) from error
        raise SynthloomError("The database refused a statement.") from error


def now(session: Session) -> datetime:
    """The database's clock, so that machines with different clocks agree.

    SQLite has no clock of its own: its machine's is ours.
    """
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def connection_name(worker_id: str, pid: int) -> str:
    """The name of a worker's connections: ASCII of at most 63 bytes, as PostgreSQL keeps it."""
    return f"synthloom worker {pid} {worker_id}".encode("ascii", "replace")[:63].decode()


def cut_off(session: Session, names: Sequence[str]) -> None:
    """End the connections of these names, and with them the transactions and locks they hold.

    A process that is frozen, or whose machine has left the network, would keep them for as long
    as it pleases. Should it live after all, it connects again. SQLite has no such power.
    """
    if not names or session.get_bind().dialect.name == "sqlite":
        return
    session.execute(
        sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = ANY(:names)"
        ),
        {"names": list(names)},
    )


def storable(text: str) -> bool:
    """Whether every database can hold this text, and so be asked for it: PostgreSQL has no NUL."""
    return "\x00" not in text
