"""What tests of the client side share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from typer.testing import CliRunner, Result

from app.cli.main import app
from tests.fake_service import KEY, FakeService, fake_service
from tests.made_datasets import Make

settings.register_profile("fuzz", max_examples=20_000)  # of `make fuzz`


@pytest.fixture
def service() -> Iterator[FakeService]:
    """A fake service behind a real socket."""
    with fake_service() as fake:
        yield fake


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Builds small datasets below the test's own folder."""
    return Make(tmp_path / "dataset")


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, no settings, and no service where one is looked for."""
    for name in [name for name in os.environ if name.startswith("SYNTHLOOM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SYNTHLOOM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SYNTHLOOM_PORT", "9")
    monkeypatch.setenv("TERM", "dumb")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


Outcome = Callable[..., Result]


@pytest.fixture
def run(nobody: Path) -> Outcome:
    """Runs `synthloom ...` in this process; exceptions that would be tracebacks are raised."""

    def run(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def known(service: FakeService, run: Outcome, monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """The fake service, where `run` finds it."""
    monkeypatch.setenv("SYNTHLOOM_SERVER", service.url)
    monkeypatch.setenv("SYNTHLOOM_API_KEY", KEY)
    return service
