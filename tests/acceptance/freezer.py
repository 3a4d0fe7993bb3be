"""Stops a worker with SIGSTOP at a moment of the test's choice: inside a write, or between two."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path
from typing import LiteralString

import psycopg
import sqlalchemy as sa

from tests.harness import wait_for

LOOK_SECONDS = 0.2


def freeze(pid: int, database_url: str, *, writing: bool) -> None:
    """Stop a process, every thread of it, while it does or does not hold a write transaction.

    It is stopped where it happens to be, looked at, and let go again until the moment is right.
    Nobody else may be writing for long.
    """
    look = _sqlite_is_locked if database_url.startswith("sqlite") else _postgres_is_writing

    def frozen() -> bool:
        os.kill(pid, signal.SIGSTOP)
        wait_for("every thread to stop", lambda: _stopped(pid), 10, pause=0.001)
        if look(database_url) == writing:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    wait_for("the right moment to freeze", frozen, 60, pause=0.005)


def _stopped(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task").glob("[0-9]*/stat")
    return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)


def _sqlite_is_locked(database_url: str) -> bool:
    """Whether somebody keeps everybody from writing: a stopped process does so for ever."""
    path = sa.make_url(database_url).database
    connection = sqlite3.connect(str(path), timeout=LOOK_SECONDS, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return True
    finally:
        connection.close()
    return False


def _postgres_is_writing(database_url: str) -> bool:
    """Whether a transaction that has written is open and waits for its client's next word."""
    url = sa.make_url(database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:

        def others(state: LiteralString) -> int:
            query: LiteralString = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND "
            )
            [count] = connection.execute(query + state).fetchone() or [0]
            return int(count)

        # What is being executed for the stopped process ends by itself, unless it waits for a row.
        at_work: LiteralString = "state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock'"
        wait_for("the end of statements", lambda: not others(at_work), pause=0.002)
        return others("backend_xid IS NOT NULL") > 0
