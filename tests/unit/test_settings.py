"""Settings of a deployment: documented, bounded, and the same in `.env.example`."""

from __future__ import annotations

import re
from pathlib import Path

import pydantic
import pytest

from app.settings import Settings
from app.supervisor import environment
from tests.documents import ROOT, render_env_example


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SYNTHLOOM_{name.upper()}", raising=False)


def test_the_example_is_what_the_settings_say() -> None:
    """If this fails: `python -m tests.documents`."""
    assert (ROOT / ".env.example").read_text() == render_env_example()


def test_the_example_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(re.sub(r"^#(SYNTHLOOM_)", r"\1", text, flags=re.MULTILINE))
    assert "SYNTHLOOM_PORT=8008" in (tmp_path / ".env").read_text().splitlines()
    assert Settings() == Settings(_env_file=None)


def test_every_setting_is_explained() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.strip().endswith("."), name


def test_every_number_has_bounds() -> None:
    for name, field in Settings.model_fields.items():
        if field.annotation in (int, float):
            bounds = {type(constraint).__name__ for constraint in field.metadata}
            assert bounds & {"Ge", "Gt"}, name


@pytest.mark.parametrize("name", ["SYNTHLOOM_PORT", "synthloom_port"])
def test_the_environment_comes_before_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SYNTHLOOM_PORT=1\nSYNTHLOOM_WORKERS=3\n")
    monkeypatch.setenv(name, "2")
    settings = Settings()
    assert (settings.port, settings.workers) == (2, 3)
    assert Settings(port=4).port == 4


def test_an_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHLOOM_PORT", "")
    monkeypatch.setenv("SYNTHLOOM_DATABASE_URL", "")
    assert Settings().port == 8008


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("WORKERS", "-1"),
        ("WORKERS", "1.5"),
        ("DEVICE", "tpu"),
        ("ENGINE_BATCH", "0"),
        ("SHARD_SAMPLES", "0"),
        ("SHARD_SAMPLES", "70000"),
        ("REFUSAL_FACTOR", "0.5"),
        ("REFUSAL_FACTOR", "nan"),
        ("LEASE_SECONDS", "0"),
        ("HEARTBEAT_SECONDS", "inf"),
        ("MAX_JOB_SAMPLES", "0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SYNTHLOOM_{name}", value)
    with pytest.raises(pydantic.ValidationError) as refusal:
        Settings()
    assert name.lower() in str(refusal.value)


def test_a_misspelled_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pydantic.ValidationError):
        Settings(prot=1)
    (tmp_path / ".env").write_text("SYNTHLOOM_PROT=1\n")
    with pytest.raises(pydantic.ValidationError, match="prot"):
        Settings()


def test_a_misspelled_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHLOOM_SERVER", "http://127.0.0.1:8008")  # of the command line
    assert Settings().port == 8008
    monkeypatch.setenv("SYNTHLOOM_PROT", "1")
    with pytest.raises(pydantic.ValidationError, match="prot"):
        Settings()


def test_other_programs_may_share_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=x\nSYNTHLOOM_PORT=1\n")
    assert Settings().port == 1


def test_a_key_is_not_shown() -> None:
    settings = Settings(api_key="sl_secret", _env_file=None)
    assert "sl_secret" not in repr(settings)
    assert "sl_secret" not in str(settings.model_dump())


def test_a_child_process_reads_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Settings(
        data_dir=tmp_path, port=0, workers=3, database_url="sqlite:///x.db", device="cpu",
        refusal_factor=2.5, worker_name="a/b", _env_file=None,
    )  # fmt: skip
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None) == given


def test_where_things_are(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/synthloom.db"
    assert settings.objects_dir == tmp_path / "objects"
    other = Settings(data_dir=tmp_path, database_url="postgresql+psycopg://h/d", _env_file=None)
    assert other.sqlalchemy_url == "postgresql+psycopg://h/d"
