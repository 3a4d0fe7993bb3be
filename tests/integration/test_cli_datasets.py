"""`synthloom datasets` against a server: a folder goes up, is looked at, and goes away."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from app.cli.main import app
from tests import made_corpora as made
from tests.harness import Server

Run = Callable[..., Result]
NAMES = ("train", "test")


@pytest.fixture
def run(server: Server) -> Run:
    where = ("--server", server.url, "--api-key", server.key)

    def invoke(*arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [*map(str, ("datasets", *arguments)), *where])

    return invoke


def test_from_a_folder_to_nothing(run: Run, tmp_path: Path) -> None:
    folder = made.to_folder(made.class_folders(made.splits(3, NAMES, seed=20)), tmp_path / "pets")
    sent = run("upload", folder, "--name", "pets", "--licence", "MIT", "--attribution", "Ünï 類")
    assert sent.exit_code == 0, sent.stderr
    assert "pets: 30 images of 3 classes" in sent.stdout
    again = run("upload", folder, "--name", "cats")
    assert "It was there already, as pets." in again.stdout
    assert "pets" in run("list").stdout
    [listed] = [each for each in json.loads(run("list", "--json").stdout) if each["name"] == "pets"]
    shown = run("show", "pets", "--preview", tmp_path / "new" / "sheet.png")
    assert shown.exit_code == 0
    assert "Ünï 類" in shown.stdout
    assert [line.split() for line in shown.stdout.splitlines() if line.startswith("total")] == [
        ["total", "15", "15"]
    ]
    with Image.open(io.BytesIO((tmp_path / "new" / "sheet.png").read_bytes())) as sheet:
        sheet.load()
    assert json.loads(run("show", listed["id"], "--json").stdout) == listed
    assert run("delete", "pets").exit_code == 2
    assert run("delete", "pets", "--yes").exit_code == 0
    gone = run("show", "pets")
    assert gone.exit_code == 2
    assert "There is no dataset 'pets'" in gone.stderr


def test_what_is_refused_is_one_sentence(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(made.zipped({"../a/1.png": b""}))
    refused = run("upload", path, "--name", "x")
    assert refused.exit_code == 2
    assert "would leave the folder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
