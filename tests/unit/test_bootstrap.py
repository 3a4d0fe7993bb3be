"""What a first start makes, and a second one leaves."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import bootstrap
from app.data_folder import exclusive
from app.db.tables import ApiKey, Base
from app.errors import ConfigurationError
from app.settings import Settings


def settings_of(folder: Path, **fields: object) -> Settings:
    return Settings(data_dir=folder, _env_file=None, **fields)


def keys_in(settings: Settings) -> int:
    engine = sa.create_engine(settings.sqlalchemy_url)
    with engine.connect() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(ApiKey)).scalar_one()
    engine.dispose()
    return count


def test_a_first_start_makes_everything(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "a" / "b")
    bootstrap.prepare(settings)
    key = settings.data_dir / "api-key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().startswith("sl_")
    assert len(key.read_text().strip()) > 40
    assert keys_in(settings) == 1
    assert list(settings.objects_dir.rglob("weights.safetensors"))
    engine = sa.create_engine(settings.sqlalchemy_url)
    assert set(Base.metadata.tables) <= set(sa.inspect(engine).get_table_names())
    engine.dispose()


def test_a_second_start_keeps_the_key(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    bootstrap.prepare(settings)
    key = (tmp_path / "api-key").read_text()
    bootstrap.prepare(settings)
    assert (tmp_path / "api-key").read_text() == key
    assert keys_in(settings) == 1


def test_a_key_of_the_settings_is_not_written_down(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, api_key="chosen-by-the-operator")
    bootstrap.prepare(settings)
    assert not (tmp_path / "api-key").exists()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"chosen-by-the-operator" in path.read_bytes()]


def test_starts_at_once_agree_on_one_key(tmp_path: Path) -> None:
    threads = 8
    at_once = threading.Barrier(threads)
    settings = settings_of(tmp_path)

    def start(_: int) -> str:
        at_once.wait(10)
        return bootstrap._api_key(settings)

    with ThreadPoolExecutor(threads) as pool:
        keys = set(pool.map(start, range(threads)))
    assert keys == {(tmp_path / "api-key").read_text().strip()}
    assert [path.name for path in tmp_path.iterdir()] == ["api-key"]


def test_two_servers_do_not_share_a_data_folder(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with exclusive(settings):
        with pytest.raises(ConfigurationError, match="--data"), exclusive(settings):
            pass
        with exclusive(settings_of(tmp_path / "other")):
            pass
    with exclusive(settings):
        pass


def test_nothing_of_a_start_shows_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bootstrap.prepare(settings_of(tmp_path))
    assert (tmp_path / "api-key").read_text().strip() not in caplog.text
