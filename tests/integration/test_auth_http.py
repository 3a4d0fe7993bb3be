"""Who may do what: every route of the application against every kind of credential."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.routing import iter_route_contexts

from app.db.tables import ApiKey
from app.main import create_app
from app.settings import Settings
from tests.builders import REQUEST
from tests.service import Service

OPEN = {"/livez", "/readyz", "/problems/{slug}"}
"""Paths of the API that need no key; all others do, those of tomorrow too."""
DOCUMENTATION = {"/docs", "/docs/oauth2-redirect", "/openapi.json", "/static-offline-docs"}


def routes() -> Iterator[tuple[str, str]]:
    """(method, path template) of everything that is served, documented or not."""
    app = create_app(Settings(data_dir=Path("never-opened"), _env_file=None))
    for route in iter_route_contexts(app.routes):
        if route.path not in DOCUMENTATION:
            yield from ((method, route.path) for method in route.methods)


ROUTES = sorted(routes())
GUARDED = [route for route in ROUTES if route[1] not in OPEN]


def filled(path: str, job: str = "job_0", model: str = "fashion-cgan") -> str:
    values = {"job_id": job, "name": model, "index": "0", "archive_format": "imagefolder",
              "dataset": "ds_0", "training_id": "trn_0", "evaluation_id": "evl_0"}  # fmt: skip
    return re.sub(r"{(\w+)}", lambda match: values[match[1]], path)


def body_of(method: str, path: str) -> Any:
    creates = method == "POST" and "{job_id}" not in path
    return REQUEST if creates else None


CREDENTIALS = {
    "none": [],
    "empty": [("Authorization", "")],
    "only the scheme": [("Authorization", "Bearer")],
    "empty key": [("Authorization", "Bearer ")],
    "wrong key": [("Authorization", "Bearer sl_wrong")],
    "10 kB key": [("Authorization", "Bearer " + "x" * 10_000)],
    "another scheme": [("Authorization", "Basic c2w6c2w=")],
    "not ASCII": [("Authorization", b"Bearer \xff\xfe")],
    "SQL": [("Authorization", "Bearer ' OR '1'='1")],
    "the digest": [("Authorization", "Bearer " + "0" * 64)],
}  # fmt: skip


def ask(service: Service, method: str, path: str, headers: Any, **more: Any) -> httpx.Response:
    """A request with these headers only: the client's own key is left out."""
    own = service.client.headers.pop("Authorization")
    try:
        return service.client.request(method, path, headers=headers, **more)
    finally:
        service.client.headers["Authorization"] = own


def test_there_are_routes_to_check() -> None:
    assert len(GUARDED) >= 14
    assert all(path.startswith("/v1/") for _, path in GUARDED)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_every_route_needs_a_key(service: Service, method: str, path: str) -> None:
    before = service.traces()
    for credential, headers in CREDENTIALS.items():
        answer = ask(service, method, filled(path), headers, json=body_of(method, path))
        assert answer.status_code == 401, credential
        assert answer.headers["www-authenticate"] == 'Bearer realm="synthloom"'
        if method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "/problems/unauthorized"
            assert "api-key" in answer.json()["detail"]
    assert service.traces() == before


@pytest.mark.parametrize("parameter", ["key", "api_key", "access_token", "authorization"])
def test_a_key_in_the_query_is_none(service: Service, parameter: str) -> None:
    assert ask(service, "GET", f"/v1/jobs?{parameter}={service.key}", []).status_code == 401


def test_cookies_and_other_headers_are_no_keys(service: Service) -> None:
    for name in ("X-API-Key", "Cookie", "Proxy-Authorization"):
        headers = [(name, f"Bearer {service.key}")]
        assert ask(service, "GET", "/v1/jobs", headers).status_code == 401


def test_the_scheme_may_be_written_in_any_case(service: Service) -> None:
    headers = [("Authorization", f"bearer {service.key}")]
    assert ask(service, "GET", "/v1/jobs", headers).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/openapi.json"])
def test_health_and_documentation_are_open(service: Service, path: str) -> None:
    assert ask(service, "GET", path, []).status_code == 200


# Two tenants


@pytest.fixture(scope="module")
def stranger(service: Service) -> str:
    """The key of another tenant."""
    return service.add_tenant("stranger")


@pytest.fixture(scope="module")
def job(service: Service) -> str:
    """A job of the default tenant."""
    return str(service.client.post("/v1/jobs", json=REQUEST).json()["id"])


OF_A_JOB = [route for route in GUARDED if "{job_id}" in route[1]]


@pytest.mark.parametrize(("method", "path"), OF_A_JOB)
def test_another_tenants_job_is_as_if_absent(
    service: Service, stranger: str, job: str, method: str, path: str
) -> None:
    before = service.traces()
    bearer = service.bearer(stranger)
    foreign = ask(service, method, filled(path, job), bearer)
    absent = ask(service, method, filled(path, "job_" + "0" * 20), bearer)
    assert foreign.status_code == absent.status_code == 404
    if method != "HEAD":
        changing = ("request_id", "instance")
        bodies = [answer.json() for answer in (foreign, absent)]
        assert [{k: v for k, v in b.items() if k not in changing} for b in bodies] == [
            {k: v for k, v in bodies[0].items() if k not in changing}
        ] * 2
    assert service.traces() == before


def test_another_tenants_jobs_and_models_are_not_listed(
    service: Service, stranger: str, job: str
) -> None:
    bearer = service.bearer(stranger)
    assert ask(service, "GET", "/v1/jobs", bearer).json() == {"jobs": [], "next": None}
    assert ask(service, "GET", "/v1/models", bearer).json() == {"models": []}
    assert ask(service, "GET", "/v1/models/fashion-cgan", bearer).status_code == 404
    assert job in service.client.get("/v1/jobs").text


def test_another_tenants_model_is_unknown_in_a_request(service: Service, stranger: str) -> None:
    for path in ("/v1/jobs", "/v1/jobs/estimate"):
        answer = ask(service, "POST", path, service.bearer(stranger), json=REQUEST)
        assert answer.status_code == 422
        assert answer.json()["type"] == "/problems/unknown-model"
        assert "No model is registered" in answer.json()["detail"]


def test_another_tenants_page_token_grants_nothing(
    service: Service, stranger: str, job: str
) -> None:
    service.client.post("/v1/jobs", json=REQUEST)
    token = service.client.get("/v1/jobs?limit=1").json()["next"]
    assert token
    answer = ask(service, "GET", f"/v1/jobs?after={token}", service.bearer(stranger))
    assert answer.json() == {"jobs": [], "next": None}


def test_a_revoked_key_is_none(service: Service) -> None:
    key = service.add_tenant("leaver")
    assert ask(service, "GET", "/v1/jobs", service.bearer(key)).status_code == 200
    with service.database.begin() as connection:
        change = sa.update(ApiKey).where(ApiKey.tenant_id == "leaver")
        connection.execute(change.values(revoked_at=sa.func.current_timestamp()))
    assert ask(service, "GET", "/v1/jobs", service.bearer(key)).status_code == 401


def test_no_key_is_ever_stored(service: Service) -> None:
    """Nor in a file but the one that hands it to its owner."""
    holders = [
        path.name
        for path in service.settings.data_dir.rglob("*")
        if path.is_file() and service.key.encode() in path.read_bytes()
    ]
    assert holders == ["api-key"]
    assert (service.settings.data_dir / "api-key").stat().st_mode & 0o777 == 0o600
