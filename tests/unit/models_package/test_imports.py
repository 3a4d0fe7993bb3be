"""What `models` may know: not the service, not the web, not a database, not the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import models

FOLDER = Path(models.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))
FORBIDDEN = {
    "app", "fastapi", "starlette", "sqlalchemy", "alembic", "dbos", "httpx", "pickle", "shelve",
}  # fmt: skip
TORCH_FREE = [
    "spec.py", "classifier_spec.py", "errors.py", "files.py", "header.py", "latents.py",
    "declared/activations.py", "declared/bounds.py", "declared/document.py",
    "declared/folding.py", "declared/import_spec.py", "declared/labels.py", "declared/layers.py",
    "declared/mapping.py", "declared/nodes.py", "declared/ordering.py", "declared/patterns.py",
    "declared/problems.py", "declared/remap.py", "declared/shapes.py", "declared/walk.py",
    "onnx_options.py", "onnx_graph.py", "onnx_binding.py", "onnx_inspection.py", "onnx_runner.py",
    "onnx_trial.py", "importing/sandbox.py",
    "zoo/catalogue.py", "training/config.py", "training/cli.py", "evaluation/cli.py",
]  # fmt: skip


def imported(tree: ast.Module, everywhere: bool) -> Iterator[str]:
    """Top-level package of each import; of the module's own level, or of functions too."""
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_module_knows_the_service(path):
    assert not FORBIDDEN & set(imported(parse(path), everywhere=True))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_module_reads_the_environment_or_unpickles(path):
    tree = parse(path)
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not {"environ", "getenv"} & attributes
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}


@pytest.mark.parametrize("name", TORCH_FREE)
def test_what_the_api_reads_imports_no_torch(name):
    assert not {"torch", "safetensors"} & set(imported(parse(FOLDER / name), everywhere=False))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
