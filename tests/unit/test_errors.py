"""One tree of errors: each class a problem type of its own, all of them documented."""

from __future__ import annotations

import re
import subprocess
import sys
from http import HTTPStatus

import pytest

from app.errors import SynthloomError, UnauthorizedError, UnknownClassError, tree
from tests.documents import ROOT, render_errors

CLASSES = tree()


def test_slugs_are_unique_and_url_safe() -> None:
    slugs = [cls.slug for cls in CLASSES]
    assert len(set(slugs)) == len(slugs)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) for slug in slugs)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_says_what_it_is(cls: type[SynthloomError]) -> None:
    assert cls.__name__.endswith("Error")
    assert HTTPStatus(cls.status) >= HTTPStatus.BAD_REQUEST
    assert cls.title
    assert cls.title[0].isupper()
    assert not cls.title.endswith(".")
    assert cls.__doc__
    assert {"slug", "title"} <= set(vars(cls)), "inherits the type of its parent"


def test_the_document_lists_every_type() -> None:
    """If this fails: `python -m tests.documents`."""
    assert (ROOT / "docs" / "errors.md").read_text() == render_errors()


def test_the_api_knows_every_type() -> None:
    """Also those of modules that it does not import: they are defined in one place."""
    program = "import app.main; from app.errors import tree; print(*(c.slug for c in tree()))"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    written = set()
    for path in (ROOT / "app").rglob("*.py"):
        written |= set(re.findall(r'slug(?:, title(?:, status)?)? = "([a-z-]+)"', path.read_text()))
    written |= set(re.findall(r'slug: ClassVar\[str\] = "([a-z-]+)"', (ROOT / "app/errors.py").read_text()))  # noqa: E501  # fmt: skip
    assert set(found) == written


def test_a_problem_has_the_members_of_the_standard() -> None:
    error = UnknownClassError(
        "Unknown class.",
        errors=[{"detail": "unknown", "pointer": "/samples_per_class/x"}],
        retry_after_seconds=3,
        known_classes=["bag"],
    )
    assert error.problem() == {
        "type": "/problems/unknown-class",
        "title": "The model has no such class",
        "status": 422,
        "detail": "Unknown class.",
        "errors": [{"detail": "unknown", "pointer": "/samples_per_class/x"}],
        "retry_after": 3,
        "known_classes": ["bag"],
    }
    assert str(error) == "Unknown class."


def test_what_is_not_known_is_left_out() -> None:
    assert set(UnauthorizedError("No.").problem()) == {"type", "title", "status", "detail"}
