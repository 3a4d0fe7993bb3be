"""The architecture holds: who may import whom, read from the source of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = sorted((ROOT / "app").rglob("*.py"))
MODELS = sorted((ROOT / "models").rglob("*.py"))

FOUNDATION = {"errors", "settings"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "storage": {"errors"},
    "db": FOUNDATION,
    "catalogue": {"db", "storage"} | FOUNDATION,
    "deletion": {"catalogue", "db", "storage"} | FOUNDATION,
    "checks": FOUNDATION,
    "datasets": {"catalogue", "db", "storage", "jobs.plan", "jobs.encoding", "jobs.formats"}
    | {"jobs.merge", "jobs.transforms"}
    | FOUNDATION,
    "quality": FOUNDATION,
    "jobs": {"checks", "datasets", "catalogue", "db", "quality", "storage"} | FOUNDATION,
    "recipes": {"jobs"} | FOUNDATION,
    "webhooks": {"db", "jobs"} | FOUNDATION,
    "engine": {"checks", "jobs.plan", "jobs.transforms"} | FOUNDATION,
    "wire": FOUNDATION,
    "imports": {"datasets", "storage", "wire"} | FOUNDATION,
    "runs": {
        "jobs",
        "datasets",
        "catalogue",
        "db",
        "imports",
        "parent",
        "quality",
        "storage",
    }
    | FOUNDATION,
    "generation_server": {"http_protocol", "jobs", "wire"} | FOUNDATION,
    "workflows": {"db", "jobs", "runs", "webhooks", "generation_server"} | FOUNDATION,
    "worker": {
        "datasets",
        "jobs",
        "runs",
        "workflows",
        "engine",
        "catalogue",
        "deletion",
        "db",
        "storage",
        "generation_server",
        "wire",
    }
    | FOUNDATION,
    "api": {
        "jobs",
        "runs",
        "datasets",
        "imports",
        "catalogue",
        "deletion",
        "db",
        "quality",
        "storage",
        "wire",
    }
    | FOUNDATION,
    "data_folder": FOUNDATION,
    "garbage": set(),
    "bootstrap": {"catalogue", "data_folder", "db", "storage"} | FOUNDATION,
    "main": {"api", "datasets", "jobs", "db", "storage"} | FOUNDATION,
    "supervisor": FOUNDATION,
    "parent": set(),
    "arithmetic": set(),
    "http_protocol": set(),
    "server": {"main", "supervisor", "bootstrap", "data_folder", "garbage", "http_protocol"}
    | FOUNDATION,
    "client": {"datasets"} | FOUNDATION,
    "cli": {
        "arithmetic",
        "client",
        "datasets",
        "imports.package",
        "bootstrap",
        "data_folder",
        "garbage",
        "quality",
        "recipes",
        "runs.messages",
        "runs.report",
        "server",
        "worker",
        "parent",
    }
    | FOUNDATION,
}
"""Part of `app` → the parts it may import, beside itself."""

TORCH = ("torch", "torchvision", "safetensors")
TORCHLESS = ("app.main", "app.server", "app.bootstrap", "app.client", "app.jobs.shard", "app.jobs.work", "models.zoo.catalogue", "models.latents", "models.importing.sandbox", "models.importing.proposal.propose")  # noqa: E501  # fmt: skip
TORCH_ALLOWED = {"app/worker.py", "app/cli/demo.py", "app/cli/readers.py"}
WEB = ("fastapi", "starlette", "uvicorn", "httpx", "sqlalchemy", "dbos", "alembic", "pydantic_settings")  # noqa: E501  # fmt: skip
IMPURE = {"time", "datetime", "os", "pathlib", "random", "secrets", "socket", "tempfile", "io"}
PURE = ("app/checks/asked.py", "app/checks/planned.py", "app/jobs/plan.py", "app/jobs/request.py", "app/jobs/encoding.py", "app/jobs/merge.py", "app/jobs/transforms.py", "app/jobs/formats.py", "app/jobs/identity.py", "app/jobs/asked_report.py", "app/jobs/webhook.py", "app/quality/gate.py", "app/quality/known_figures.py", "app/datasets/names.py", "models/latents.py", "models/spec.py")  # noqa: E501  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(module: str) -> str:
    """The part of `app` that a module belongs to."""
    part = module.split(".")[1]
    return "client" if part.startswith("client") else part


def inside_app(path: Path) -> Iterator[str]:
    yield from (module for module in imports(path) if module.startswith("app."))


def allowed(module: str, parts: set[str]) -> bool:
    return (
        any((module + ".").startswith(f"app.{part}.") for part in parts) or part_of(module) in parts
    )


@pytest.mark.parametrize("path", APP, ids=name_of)
def test_imports_follow_the_arrows(path: Path) -> None:
    module = name_of(path).removesuffix(".py").replace("/", ".")
    if path.name in ("__init__.py", "__main__.py") and path.parent.name == "app":
        return
    part = part_of(module)
    assert part in ARROWS, "a new part of the application: give it its arrows here"
    against = {m for m in inside_app(path) if not allowed(m, ARROWS[part] | {part})}
    assert not against


def test_the_arrows_have_no_circle() -> None:
    """But the plan, which is pure: what a dataset is follows from it."""
    order: list[str] = []
    left = {part: {p for p in to if "." not in p} for part, to in ARROWS.items()}
    while left:
        free = [part for part, to in left.items() if not to & left.keys()]
        assert free, left
        order += free
        left = {part: to for part, to in left.items() if part not in free}
    assert len(order) == len(ARROWS)


@pytest.mark.parametrize("path", APP, ids=name_of)
def test_torch_is_imported_where_it_runs_and_nowhere_else(path: Path) -> None:
    found = {m.split(".")[0] for m in imports(path)} & set(TORCH)
    if name_of(path) not in TORCH_ALLOWED and not name_of(path).startswith("app/engine/"):
        assert not found


@pytest.mark.parametrize("path", MODELS, ids=name_of)
def test_models_know_nothing_of_the_service(path: Path) -> None:
    found = {m.split(".")[0] for m in imports(path)}
    assert not found & {"app", *WEB}
    assert "os.environ" not in path.read_text()


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_stays_pure(name: str) -> None:
    found = {module.split(".")[0] for module in imports(ROOT / name)}
    assert not found & (IMPURE | set(WEB) | set(TORCH))
    outside = {part_of(module) for module in inside_app(ROOT / name)}
    assert outside <= {"checks", "errors", "jobs", "quality"}


def test_only_a_worker_loads_torch() -> None:
    """The imports that really happen, those of the libraries in between too."""
    program = (
        "import importlib, sys\n"
        f"for name in {TORCHLESS}:\n"
        "    importlib.import_module(name)\n"
        f"    print(name, *({set(TORCH)} & sys.modules.keys()))"
    )
    loaded = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert loaded == list(TORCHLESS)


# What a reader meets


@pytest.mark.parametrize("path", APP + MODELS, ids=name_of)
def test_files_and_functions_stay_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= 60, node.name


@pytest.mark.parametrize("path", APP + MODELS, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_drawers_and_no_names_of_the_standard_library() -> None:
    drawers = {"utils", "util", "misc", "helpers", "helper", "common", "tools", "base"}
    for path in APP + MODELS:
        stems = {path.stem, *(folder.name for folder in path.relative_to(ROOT).parents)}
        assert not stems & drawers, path
        assert path.stem not in sys.stdlib_module_names, path


def test_migrations_do_not_shadow_their_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
