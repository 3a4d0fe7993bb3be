"""A database that is not there: one sentence at the start, 503 later, never a password."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from app.settings import Settings
from tests.databases import fresh_postgres
from tests.service import opened

NOWHERE = "postgresql+psycopg://user:hidden-word@127.0.0.1:1/name"


@pytest.mark.parametrize("command", ["migrate", "serve", "worker"])
def test_a_process_refuses_to_start_in_one_line(command: str, tmp_path: Path) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SYNTHLOOM_")}
    settings = {"SYNTHLOOM_DATA_DIR": str(tmp_path / "data"), "SYNTHLOOM_DATABASE_URL": NOWHERE}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", command],
        cwd=tmp_path,
        env=inherited | settings | {"SYNTHLOOM_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The database postgresql+psycopg://user:***@127.0.0.1:1")
    assert done.stderr.count("\n") == 1
    assert "hidden-word" not in done.stdout + done.stderr


def test_a_worker_without_a_schema_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "worker", "--data", "data"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("SYNTHLOOM_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "synthloom migrate" in done.stderr
    assert done.stderr.count("\n") == 1


def test_not_ready_while_it_is_away_and_ready_again(postgres_url: str, tmp_path: Path) -> None:
    url = fresh_postgres(postgres_url)
    name = url.rpartition("/")[2].partition("?")[0]
    with (
        opened(Settings(data_dir=tmp_path, database_url=url, _env_file=None)) as service,
        psycopg.connect(postgres_url, autocommit=True) as admin,
    ):
        assert service.client.get("/readyz").status_code == 200
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        answer = service.client.get("/readyz")
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert name not in answer.text
        assert service.client.get("/livez").status_code == 200
        assert service.client.get("/v1/models").status_code == 503
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert service.client.get("/readyz").status_code == 200


@pytest.mark.parametrize("url", ["mysql://h/name", "name", "postgresql://", "sqlite"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="write it like postgresql"):
        Settings(database_url=url, _env_file=None)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_usual_spellings_of_postgresql_are_one(scheme: str) -> None:
    settings = Settings(database_url=f"{scheme}://h/name", _env_file=None)
    assert settings.sqlalchemy_url == "postgresql+psycopg://h/name"
