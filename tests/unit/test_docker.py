"""The container files say nothing that the code does not know, and carry no secret.

No daemon is needed; whether an image builds is not shown here.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from app.cli.main import app
from app.settings import Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
SECRETS = {"SYNTHLOOM_API_KEY", "POSTGRES_PASSWORD"}


def substituted(text: str) -> str:
    """`${NAME:?message}` as compose would fill it in."""
    return re.sub(r"\$\{(\w+)[^}]*\}", r"a-\1", text)


@pytest.mark.parametrize("file", [DOCKER / "Dockerfile", DOCKER / "compose.yaml",
                                  DOCKER / "env.example"], ids=lambda file: file.name)  # fmt: skip
def test_every_variable_is_a_setting(file: Path) -> None:
    named = set(re.findall(r"\bSYNTHLOOM_([A-Z][A-Z_]*)\b", file.read_text()))
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


@pytest.mark.parametrize("name", OURS)
def test_the_settings_accept_the_values(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(variable, substituted(str(value)))
    settings = Settings(_env_file=None)
    assert settings.sqlalchemy_url.startswith("postgresql+psycopg://")
    assert settings.data_dir == Path("/data")
    assert (settings.api_key is None) == (name == "worker"), "a worker has no use for it"


@pytest.mark.parametrize("name", OURS)
def test_a_service_builds_a_stage_that_exists(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).exists()
    assert f" AS {build['target']}\n" in DOCKERFILE


def test_services_share_objects_and_wait_for_the_schema() -> None:
    assert OURS == ["api", "migrate", "worker"]
    for name in OURS:
        assert SERVICES[name]["volumes"] == ["objects:/data"]
    for name in ("api", "worker"):
        assert SERVICES[name]["depends_on"]["migrate"] == {
            "condition": "service_completed_successfully"
        }
    assert "ports" not in SERVICES["worker"], "a port would keep it from being scaled"


def test_commands_exist() -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    run = list(re.findall(r'^CMD \["synthloom", "(\w+)"', DOCKERFILE, re.MULTILINE))
    run += [service["command"][1] for service in SERVICES.values() if "command" in service]
    assert sorted(run) == ["migrate", "serve", "worker"]
    assert set(run) <= set(known)


def test_secrets_come_from_outside() -> None:
    for name, value in re.findall(r"(SYNTHLOOM_API_KEY|POSTGRES_PASSWORD): (.*)",
                                  (DOCKER / "compose.yaml").read_text()):  # fmt: skip
        assert value.startswith(f"${{{name}:?"), "no default, and a sentence when it is missing"
    example = dict(re.findall(r"^(\w+)=(.*)$", (DOCKER / "env.example").read_text(), re.MULTILINE))
    assert example == dict.fromkeys(SECRETS, "")
    assert not SECRETS & set(re.findall(r"\w+", DOCKERFILE))
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def stage(name: str) -> str:
    """The instructions of one stage."""
    return re.split(r"^FROM ", DOCKERFILE.partition(f" AS {name}\n")[2], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", ["api", "worker"])
def test_an_image_runs_as_a_user_of_its_own(name: str) -> None:
    assert re.search(r"^USER (\d+):\1$", stage(name), re.MULTILINE)
    assert "--uid 10001" in stage("base")


def test_the_api_is_checked_and_has_no_worker() -> None:
    assert "/livez" in stage("api").partition("HEALTHCHECK")[2]
    assert "SYNTHLOOM_WORKERS=0" in stage("api")
    assert "worker" not in stage("api-dependencies")


def test_the_build_sees_what_it_copies_and_no_more() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_stage_of_the_api_installs_the_base_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [line for line in project["dependencies"] if line.startswith("torch")]
    assert "torch" in " ".join(project["optional-dependencies"]["worker"])
