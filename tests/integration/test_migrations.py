"""The schema: reached from nothing, left again, equal to the tables of the code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from alembic import command
from app.bootstrap import prepare
from app.db.migrate import alembic_config, check, migrate
from app.db.session import create_engine
from app.db.tables import ApiKey, Base, Job, Model, Sample, Shard, Tenant
from app.errors import ConfigurationError
from app.settings import Settings
from tests.databases import DIALECTS, empty_postgres

OURS = set(Base.metadata.tables) | {"alembic_version"}


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return empty_postgres(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def to(engine: sa.Engine, revision: str) -> None:
    """Upgrade or downgrade to a revision."""
    config = alembic_config()
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        move = command.downgrade if revision == "base" else command.upgrade
        move(config, revision)
        connection.commit()


def ours(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names()) & OURS


def differences(engine: sa.Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name in OURS,
            },
        )
        return list(compare_metadata(context, Base.metadata))


def test_up_down_and_up_again(engine: sa.Engine) -> None:
    to(engine, "head")
    assert ours(engine) == OURS
    to(engine, "base")
    assert ours(engine) == {"alembic_version"}
    to(engine, "head")
    assert ours(engine) == OURS


def test_the_migrations_make_the_tables_of_the_code(engine: sa.Engine, database_url: str) -> None:
    migrate(database_url)
    assert differences(engine) == []


def test_what_must_not_happen_is_refused_by_the_database_too(
    engine: sa.Engine, database_url: str
) -> None:
    """Constraints are not compared by alembic: their names are, here."""
    migrate(database_url)
    inspector = sa.inspect(engine)
    for table in Base.metadata.tables.values():
        wanted = {c.name for c in table.constraints if isinstance(c, sa.CheckConstraint)}
        found = {c["name"] for c in inspector.get_check_constraints(table.name)}
        assert found == wanted, table.name


@pytest.mark.parametrize("ended_at", [1, 2, 9, 14, 18])
def test_a_migration_that_is_ended_on_the_way_leaves_nothing(
    engine: sa.Engine, ended_at: int
) -> None:
    """At a statement in the middle of a revision; the next start does all of it."""
    seen: list[str] = []

    def end(_c: object, _k: object, statement: str, *_: object) -> None:
        if statement.split()[0] in ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE"):
            seen.append(statement)
            if len(seen) == ended_at:
                raise InterruptedError

    sa.event.listen(engine, "before_cursor_execute", end)
    with pytest.raises(InterruptedError):
        to(engine, "head")
    assert ours(engine) == set()
    to(engine, "head")
    assert differences(engine) == []


def test_rows_of_older_versions_are_kept(engine: sa.Engine) -> None:
    to(engine, "0001")
    statements = (
        "INSERT INTO tenants (id, created_at) VALUES ('default', '2026-01-02 03:04:05+00')",
        "INSERT INTO jobs (number, id, tenant_id, state, plan, formats, samples, shards,"
        " shard_window, samples_done, shards_done, refused, finalizations, fingerprint, created_at)"
        " VALUES (7, 'old', 'default', 'queued', '{}', '[]', 1, 1, 1, 1, 1, 0, 0, '',"
        " '2026-01-02 03:04:05+00')",
        'INSERT INTO shards (job_number, "index", attempts, drawn, refused) VALUES (7, 0, 0, 0, 0)',
        "INSERT INTO samples VALUES (7, 3, 0, 1, 2, 60, 650, 'file', 'pixels')",
    )
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    to(engine, "head")
    with engine.connect() as connection:
        [sample] = connection.execute(sa.select(Sample.__table__)).all()
        [job] = connection.execute(sa.select(Job.number, Job.rows_in)).all()
        [shard] = connection.execute(sa.select(Shard.index, Shard.rows_key)).all()
    assert [*sample[:7]] == [7, 3, 0, 1, 2, 60, 650]
    assert (job, shard) == ((7, "database"), (0, None))


def test_there_is_one_line_of_revisions() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_migrating_again_changes_nothing(database_url: str, engine: sa.Engine) -> None:
    migrate(database_url)
    before = sa.inspect(engine).get_table_names()
    migrate(database_url)
    assert sa.inspect(engine).get_table_names() == before
    check(engine)


def test_an_empty_database_is_not_served(engine: sa.Engine) -> None:
    with pytest.raises(ConfigurationError, match="synthloom migrate"):
        check(engine)


def test_a_newer_database_is_refused_and_left_alone(database_url: str, engine: sa.Engine) -> None:
    migrate(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for refuse in (lambda: migrate(database_url), lambda: check(engine)):
        with pytest.raises(ConfigurationError, match="9999"):
            refuse()
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    assert found == "9999"


def test_processes_that_migrate_at_once(
    database_url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    """Four first starts on one empty database and one data folder."""
    environment = os.environ | {"SYNTHLOOM_DATABASE_URL": database_url}
    command_line = [sys.executable, "-m", "app.cli", "migrate", "--data", str(tmp_path / "data")]
    starts = [
        subprocess.Popen(command_line, env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    try:
        errors = [start.communicate(timeout=60)[1].decode() for start in starts]
    finally:
        for start in starts:
            start.kill()
            start.communicate()
    assert [start.returncode for start in starts] == [0] * 4, errors
    check(engine)
    with engine.connect() as connection:
        for table in (Tenant, ApiKey):
            count = sa.select(sa.func.count()).select_from(table)
            assert connection.execute(count).scalar_one() == 1
        names = connection.execute(sa.select(Model.name)).scalars().all()
    assert len(set(names)) == len(names) >= 1


def test_a_start_keeps_what_is_there(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url, _env_file=None)

    def everything() -> dict[str, bytes]:
        files = (path for path in settings.data_dir.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}

    prepare(settings)
    before = everything()
    prepare(settings)
    assert everything() == before


def test_an_empty_key_file_is_refused(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url, _env_file=None)
    prepare(settings)
    (settings.data_dir / "api-key").write_text("\n")
    with pytest.raises(ConfigurationError, match="empty"):
        prepare(settings)
