"""How the tests are dealt out when several processes run them (`pytest -n 2 --dist loadgroup`), and
the databases of all that need some."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.arithmetic import repeat_products
from tests.databases import DIALECTS, fresh_postgres, fresh_sqlite, postgres

SHARED = "server"
ALONE = {"test_frozen.py", "test_kills.py", "test_take_over.py"}
"""Files of tests that share nothing and take many seconds each."""
OF_IMAGES = {
    "test_archives_http.py",
    "test_checks_http.py",
    "test_croissant_http.py",
    "test_exports_http.py",
    "test_fuzz_http.py",
    "test_import_http.py",
    "test_interpolation_http.py",
    "test_labelled_http.py",
    "test_merge_http.py",
    "test_model_export_http.py",
    "test_raw_http.py",
    "test_sampling_http.py",
    "test_transforms_http.py",
}
"""Files of tests whose facts are those of images, formats and HTTP: on SQLite in `make test`, on
PostgreSQL in `make soak`. What the database itself could change is tested on both each time."""


def pytest_configure() -> None:
    """Ctrl-C works in the tests, and in what they start, also where a shell that runs the suite in
    the background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    repeat_products()  # as a worker does


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests of one file stay together, as do all that talk to the same server.

    They begin in the order in which they are found, the fault tests first: they take longest. xdist
    reads the groups before any `pytest_collection_modifyitems` of a conftest.py runs.
    """
    group = _group(item)
    if group is not None:
        item.add_marker(pytest.mark.xdist_group(group))
    if item.path.name in OF_IMAGES and "postgresql" in _parameters(item).values():
        item.add_marker(pytest.mark.soak)


def _parameters(item: pytest.Item) -> dict[str, object]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params


def _group(item: pytest.Item) -> str | None:
    parameters = _parameters(item)
    if SHARED in parameters:
        return f"{SHARED}-{parameters[SHARED]}"
    return None if item.path.name in ALONE else str(item.path)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL 18, one for each process of the tests."""
    with postgres() as url:
        yield url


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind, with our tables."""
    if request.param == "sqlite":
        return fresh_sqlite(tmp_path)
    return fresh_postgres(request.getfixturevalue("postgres_url"))
