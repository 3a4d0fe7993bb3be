"""The API on real databases, inside the test process; and a whole server with a worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.builders import REQUEST
from tests.databases import DIALECTS, fresh_postgres
from tests.harness import Server, rows_of, run_job, serving
from tests.service import Service, opened


@pytest.fixture(scope="module", params=DIALECTS)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The API in this process, without a worker; the tests of a file share one of each kind.

    A file may set more in `SERVICE_SETTINGS`.
    """
    url = ""
    if request.param == "postgresql":
        url = fresh_postgres(request.getfixturevalue("postgres_url"))
    folder = tmp_path_factory.mktemp("service")
    more = getattr(request.module, "SERVICE_SETTINGS", {})
    with opened(Settings(data_dir=folder, database_url=url, _env_file=None, **more)) as service:
        yield service


@pytest.fixture(scope="session", params=DIALECTS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`synthloom serve` with one worker, for the whole run, on each database."""
    folder = tmp_path_factory.mktemp(f"server-{request.param}")
    url = ""
    if request.param == "postgresql":
        url = fresh_postgres(request.getfixturevalue("postgres_url"))
    small: dict[str, Any] = {"shard_samples": 100, "engine_batch": 32}
    few = 2.0  # candidates for a sample: what can't be found is looked for a fifth of the time
    with serving(folder, database_url=url, refusal_factor=few, **small) as running:
        yield running


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """An authorised client of the server."""
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def finished(server: Server) -> dict[str, Any]:
    """A succeeded job of `REQUEST`: three shards."""
    with server.client() as client:
        return run_job(client, REQUEST)


@pytest.fixture(scope="session")
def archive(server: Server, finished: dict[str, Any]) -> bytes:
    """The whole archive of that job."""
    with server.client() as client:
        answer = client.get(finished["archives"][0]["url"])
    assert answer.status_code == 200
    return answer.content


@pytest.fixture
def rows(http: httpx.Client, finished: dict[str, Any]) -> list[dict[str, Any]]:
    """The manifest of that job."""
    return rows_of(http, finished)


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    for name in [name for name in os.environ if name.startswith("SYNTHLOOM_")]:
        del os.environ[name]
