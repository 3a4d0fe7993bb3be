"""`synthloom models versions`, `default`, `delete`, `export`, and import of what was exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from app.cli import model_versions
from app.cli.main import app
from tests.fake_service import FakeService
from tests.made_datasets import zipped

Run = Callable[..., Result]


@pytest.fixture
def two(known: FakeService) -> FakeService:
    """A model of two versions."""
    known.versions = ["2", "1"]
    return known


def test_versions_are_listed_and_the_default_is_marked(run: Run, two: FakeService) -> None:
    lines = run("models", "versions", "tiny").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["tiny@2", "tiny@1"]
    assert ["newest" in line for line in lines[2:]] == [True, False]
    two.chosen = "1"
    assert "chosen" in run("models", "versions", "tiny").stdout
    found = json.loads(run("models", "versions", "tiny", "--json").stdout)
    assert (found["default"], found["chosen"]) == ("1", True)
    assert run("models", "versions", "other").exit_code == 2


def test_a_default_is_chosen_and_given_up(run: Run, two: FakeService) -> None:
    assert run("models", "default", "tiny@1").stdout == "tiny means tiny@1 from now on.\n"
    assert two.chosen == "1"
    given_up = run("models", "default", "tiny", "--newest").stdout
    assert given_up == "tiny means tiny@2 as long as that is the newest.\n"
    assert two.chosen is None


@pytest.mark.parametrize("wrong", [["tiny"], ["tiny@1", "--newest"], ["tiny@3"]])
def test_a_default_that_is_none(run: Run, two: FakeService, wrong: list[str]) -> None:
    result = run("models", "default", *wrong)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")


def test_a_version_is_deleted(run: Run, two: FakeService) -> None:
    assert run("models", "delete", "tiny@2", "--yes").stdout == "tiny@2 is deleted.\n"
    assert two.versions == ["1"]


def test_a_deletion_asks_first(run: Run, two: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run("models", "delete", "tiny@1")
    assert (refused.exit_code, two.versions) == (2, ["2", "1"])
    assert "add --yes" in refused.stderr
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(model_versions, "sys", terminal)
    no = CliRunner().invoke(app, ["models", "delete", "tiny@1"], input="n\n")
    assert (no.exit_code, two.versions) == (1, ["2", "1"])
    yes = CliRunner().invoke(app, ["models", "delete", "tiny@1"], input="y\n")
    assert (yes.exit_code, two.versions) == (0, ["2"])


def test_a_deletion_that_is_refused_says_why(run: Run, two: FakeService) -> None:
    assert run("models", "delete", "tiny@3", "--yes").exit_code == 2
    assert two.versions == ["2", "1"]


def test_an_export_is_one_file(run: Run, known: FakeService, nobody: Path) -> None:
    known.archive = zipped({"spec.json": b"{}"})
    known.cuts = [20]
    result = run("models", "export", "tiny")
    assert result.exit_code == 0, result.stderr
    assert (nobody / "tiny-1.zip").read_bytes() == known.archive
    assert "synthloom models import tiny-1.zip" in result.stdout
    assert run("models", "export", "tiny@1", "--out", "a/b.zip").exit_code == 0
    assert (nobody / "a/b.zip").read_bytes() == known.archive


def test_an_exported_file_needs_no_name(run: Run, known: FakeService, nobody: Path) -> None:
    (nobody / "tiny.zip").write_bytes(zipped({"spec.json": b"{}"}))
    result = run("models", "import", "tiny.zip")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("tiny@1 is registered")
    assert known.paths("POST") == ["/v1/models"]
    for option in (["--try"], ["--answer", "a=1"], ["--spec", "tiny.zip"]):
        refused = run("models", "import", "tiny.zip", *option)
        assert refused.exit_code == 2
        assert "has its spec in it" in refused.stderr


def test_any_other_file_needs_a_name(run: Run, known: FakeService, nobody: Path) -> None:
    (nobody / "weights.pth").write_bytes(zipped({"archive/data.pkl": b"x"}))
    result = run("models", "import", "weights.pth")
    assert result.exit_code == 2
    assert "--name NAME" in result.stderr
    assert known.seen == []
