"""The wheel has everything that an installed service needs, and runs on its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from models.zoo.catalogue import zoo_folder

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "app", "models", "alembic")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no leftover of an earlier build gets in, and without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--disable-pip-version-check", "--wheel-dir", str(folder), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def members(wheel: Path) -> set[str]:
    """Names of its files."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_module_is_inside(members: set[str]) -> None:
    modules = [path for top in ("app", "models") for path in (ROOT / top).rglob("*.py")]
    missing = {path.relative_to(ROOT).as_posix() for path in modules} - members
    assert not missing, "packages that pyproject.toml does not list"


def test_migrations_are_inside(members: set[str]) -> None:
    migrations = [path.relative_to(ROOT / "alembic") for path in (ROOT / "alembic").rglob("*.py")]
    assert len(migrations) >= 2
    assert {f"app/db/migrations/{path.as_posix()}" for path in migrations} <= members


def test_shipped_models_are_inside(members: set[str]) -> None:
    files = [path for path in zoo_folder().glob("*/*") if path.parent.name != "__pycache__"]
    assert files
    assert {f"models/zoo/{path.parent.name}/{path.name}" for path in files} <= members


def test_licences_are_inside_and_tests_are_not(members: set[str]) -> None:
    names = {name.rpartition("/")[2] for name in members if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE"} <= names
    tops = {name.split("/")[0] for name in members if ".dist-info/" not in name}
    assert tops == {"app", "models"}


def test_it_prepares_a_data_folder_by_itself(wheel: Path, tmp_path: Path) -> None:
    """Migrations and shipped models are found where the wheel puts them, not in a checkout."""
    unpacked, data = tmp_path / "site", tmp_path / "data"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SYNTHLOOM_")}
    environment = inherited | {"PYTHONPATH": str(unpacked), "SYNTHLOOM_DATA_DIR": str(data)}
    program = "import app.cli.main as m; print(m.__file__, flush=True); m.app(['migrate'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).is_relative_to(unpacked)
    assert (data / "synthloom.db").exists()
    assert list((data / "objects" / "models").rglob("weights.safetensors"))
