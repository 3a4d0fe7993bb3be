"""What a file `.env` may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command that is started here looks for it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def test_values_are_read(env_file: Path) -> None:
    env_file.write_text("SYNTHLOOM_WORKERS=3\nSYNTHLOOM_PORT=\n")
    settings = Settings()
    assert settings.workers == 3
    assert settings.port == 8008, "an empty value is none"


def test_the_environment_outweighs_the_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("SYNTHLOOM_WORKERS=3\n")
    monkeypatch.setenv("SYNTHLOOM_WORKERS", "2")
    assert Settings().workers == 2


def test_a_misspelled_name_is_refused(env_file: Path) -> None:
    env_file.write_text("SYNTHLOOM_WORKRES=3\n")
    with pytest.raises(ValidationError, match="workres"):
        Settings()


def test_another_programs_variables_are_its_own(env_file: Path) -> None:
    env_file.write_text("DATABASE_URL=mysql://elsewhere\nPORT=80\n")
    assert Settings().database_url == ""


def test_the_key_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHLOOM_API_KEY", "sl_secret")
    assert "sl_secret" not in repr(Settings(_env_file=None))
