"""`docs/openapi.json` is the API that is served, and describes it well enough to use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.documents import ROOT, render_openapi


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_openapi())
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_file_is_what_the_application_says() -> None:
    """If this fails: `python -m tests.documents`."""
    assert (ROOT / "docs" / "openapi.json").read_text() == render_openapi()


def test_every_operation_is_described_and_named_once(document: dict[str, Any]) -> None:
    found = operations(document)
    for name, operation in found:
        assert operation.get("description") or operation.get("summary"), name
        assert operation["tags"], name
    names = [operation["operationId"] for _, operation in found]
    assert len(set(names)) == len(names)


def test_every_operation_under_v1_wants_a_key(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert bool(operation.get("security")) == ("/v1/" in name), name


def test_every_operation_says_that_it_may_answer_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert "application/problem+json" in operation["responses"]["default"]["content"], name
        assert "422" not in operation["responses"], name


def test_binary_answers_are_not_described_as_json(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        kinds = set(operation["responses"].get("200", {}).get("content", {}))
        if name.endswith(".png"):
            assert kinds == {"image/png"}, name
        elif "/samples/{index}" in name:
            assert kinds == {"image/png", "image/webp", "image/jpeg"}, name
        if "/archives/" in name:
            assert kinds == {"application/zip", "application/x-npz"}, name
        if name.endswith(".ndjson"):
            assert kinds == {"application/x-ndjson"}, name
