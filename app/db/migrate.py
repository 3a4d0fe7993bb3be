"""Bring a database to the schema of this code: our tables (alembic) and the engine's (DBOS)."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from dbos import DBOS, SQLAlchemyDatasource
from sqlalchemy.exc import OperationalError

from alembic import command
from app.db.session import create_engine
from app.errors import ConfigurationError, UnavailableError

_LOOK_SECONDS = 0.1
_LOCK = 0x53594E5448  # "SYNTH": the advisory lock of migrations


def migrate(url: str) -> None:
    """Upgrade to the newest revision; several processes may ask at once, one does it.

    Raises ConfigurationError when the database is newer than this code, UnavailableError when
    it can't be reached.
    """
    engine = create_engine(url)
    try:
        with _answering(engine), one_at_a_time(engine):
            with engine.connect() as connection:
                _refuse_newer(connection)
                config = alembic_config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
            DBOS.migrate(url)
            SQLAlchemyDatasource.migrate(url)
    finally:
        engine.dispose()


def check(engine: sa.Engine) -> None:
    """Raise ConfigurationError unless the schema is the one of this code, UnavailableError when
    the database can't be reached."""
    with _answering(engine), engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    wanted = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if found != wanted:
        raise ConfigurationError(
            f"The database is at schema revision {found or 'none'}, this version needs {wanted}. "
            "Run `synthloom migrate` with the same settings."
        )


def alembic_config() -> Config:
    """Alembic's configuration, in a checkout and in an installed package alike."""
    packaged = Path(__file__).parent / "migrations"
    folder = packaged if packaged.exists() else Path(__file__).parents[2] / "alembic"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


@contextmanager
def _answering(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig).partition("\n")[0].strip()
        raise UnavailableError(
            f"The database {engine.url.render_as_string()} can't be used: {reason}. Check that it "
            "runs, and the setting SYNTHLOOM_DATABASE_URL.",
            retry_after_seconds=5,
        ) from error


def _refuse_newer(connection: sa.Connection) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    known = {
        script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()
    }
    connection.rollback()
    if found is not None and found not in known:
        raise ConfigurationError(
            f"The database has schema revision {found}, which this version does not know: it was "
            "written by a newer version. Install that version, or restore a backup."
        )


@contextmanager
def one_at_a_time(engine: sa.Engine) -> Iterator[None]:
    """Of several processes that start on one database, one is in this block."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            # Not pg_advisory_lock: a statement that waits keeps its snapshot, and the engine's
            # migrations build indexes concurrently, which waits for every older snapshot.
            while not _try_lock(connection):
                time.sleep(_LOOK_SECONDS)
            try:
                yield
            finally:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK)))
                connection.commit()
        return
    path = Path(engine.url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.migrate-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _try_lock(connection: sa.Connection) -> bool:
    locked = connection.execute(sa.select(sa.func.pg_try_advisory_lock(_LOCK))).scalar_one()
    connection.commit()
    return bool(locked)
