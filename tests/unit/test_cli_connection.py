"""How commands find the service and the key, and what they say when they don't."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from app.cli.connection import Whereabouts, _key
from app.cli.failures import CommandError
from app.settings import Settings
from tests.fake_service import KEY, FakeService, Reply

Run = Callable[..., Result]


@pytest.fixture
def data(nobody: Path, service: FakeService) -> Path:
    """The data folder of the fake service, as a real one leaves it."""
    folder = nobody.parent / "data"
    folder.mkdir()
    (folder / "api-key").write_text(f"{KEY}\n")
    (folder / "server.json").write_text(json.dumps({"url": service.url, "pid": 1}))
    return folder


def test_the_default_data_folder_leads_to_the_service(run: Run, data: Path) -> None:
    assert "tiny@1" in run("models", "list").stdout


def test_a_data_folder_can_be_named(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTHLOOM_DATA_DIR")
    assert "tiny@1" in run("models", "list", "--data", data).stdout


def test_the_usual_address_is_tried(
    run: Run, service: FakeService, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "server.json").unlink()
    monkeypatch.setenv("SYNTHLOOM_PORT", service.url.rpartition(":")[2])
    assert "tiny@1" in run("models", "list").stdout


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 3}', '{"url": "http://127.0.0.1:9"}'])
def test_a_stale_address_is_not_followed(run: Run, data: Path, text: str) -> None:
    (data / "server.json").write_text(text)
    result = run("models", "list")
    assert result.exit_code == 3
    assert "http://127.0.0.1:9" in result.stderr


def test_nobody_there(run: Run) -> None:
    result = run("models", "list")
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: No Synthloom service answers at http://127.0.0.1:9")
    assert "synthloom serve" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["models", "list"], ["jobs", "show", "job_1"]])
def test_a_named_service_that_does_not_answer(run: Run, command: list[str]) -> None:
    result = run(*command, "--server", "http://127.0.0.1:9", "--api-key", "x")
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1


def test_generate_does_not_replace_a_named_service_by_its_own(run: Run) -> None:
    arguments = ["tiny", "--per-class", "1", "--out", "out", "--server", "http://127.0.0.1:9"]
    assert run("generate", *arguments).exit_code == 3


def test_a_wrong_key_says_where_it_came_from(run: Run, data: Path) -> None:
    (data / "api-key").write_text("old-key")
    result = run("models", "list")
    assert result.exit_code == 2
    assert str(data / "api-key") in result.stderr
    assert "old-key" not in result.stderr


def test_no_key_says_where_it_is_looked_for(run: Run, data: Path) -> None:
    (data / "api-key").unlink()
    result = run("models", "list")
    assert result.exit_code == 2
    assert f"{data / 'api-key'} can't be read" in result.stderr
    assert "SYNTHLOOM_API_KEY" in result.stderr


@pytest.mark.parametrize("key", ["with space", "schlüssel"])
def test_a_key_that_can_be_none(run: Run, service: FakeService, key: str) -> None:
    result = run("models", "list", "--server", service.url, "--api-key", key)
    assert result.exit_code == 2
    assert "API key" in result.stderr


def test_the_key_of_this_machine_is_not_sent_to_another(data: Path) -> None:
    with pytest.raises(CommandError, match="SYNTHLOOM_API_KEY"):
        _key(Whereabouts(), "https://elsewhere.example", Settings(data_dir=data))
    key, _ = _key(Whereabouts(data=data), "https://elsewhere.example", Settings())
    assert key


def test_a_setting_that_is_not_valid(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHLOOM_PORT", "a lot")
    result = run("models", "list")
    assert result.exit_code == 2
    assert "SYNTHLOOM_PORT" in result.stderr


def test_some_other_server(run: Run, known: FakeService) -> None:
    html = Reply(404, b"<html>", {"Content-Type": "text/html"})
    known.faults = [Reply(200), html]
    result = run("models", "list")
    assert result.exit_code == 1
    assert "check that the address" in result.stderr


def test_a_named_address_where_something_else_answers(run: Run, known: FakeService) -> None:
    known.faults = [Reply(404, b"<html>", {"Content-Type": "text/html"})]
    result = run("models", "list")
    assert result.exit_code == 3
    assert "(something else answers there)" in result.stderr
