"""One `Idempotency-Key`, one job: replayed, raced, reused, misspelled."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.db.tables import Job
from tests.service import Service

BODY = {"model": "fashion-cgan", "samples_per_class": {"bag": 3}, "seed": 7}


@pytest.fixture
def key() -> str:
    """A key that no other test has used."""
    return f"order-{secrets.token_hex(8)}"


def post(
    service: Service, key: str | bytes | None, body: Any = BODY, bearer: str | None = None
) -> httpx.Response:
    headers: dict[str, Any] = service.bearer(bearer)
    if key is not None:
        headers["Idempotency-Key"] = key
    return service.client.post("/v1/jobs", json=body, headers=headers)


def jobs(service: Service) -> int:
    with service.database.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(Job)).scalar_one()


def test_the_same_request_again_is_the_same_job(service: Service, key: str) -> None:
    before = jobs(service)
    first, again = post(service, key), post(service, key)
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert jobs(service) == before + 1


def test_the_same_request_written_otherwise_is_the_same(service: Service, key: str) -> None:
    body = {"seed": 7, "samples_per_class": {"bag": 3}, "model": "fashion-cgan"}
    assert post(service, key).json()["id"] == post(service, key, body).json()["id"]


def test_a_replay_shows_the_job_as_it_is_now(service: Service, key: str) -> None:
    job = post(service, key).json()
    service.client.post(job["links"]["cancel"])
    assert post(service, key).json()["state"] == "cancelled"


@pytest.mark.parametrize(
    "other", [{"seed": 8}, {"samples_per_class": {"bag": 4}}, {"samples_per_class": {"coat": 3}}]
)
def test_another_request_under_the_key_is_refused(service: Service, key: str, other: Any) -> None:
    job = post(service, key).json()
    before = service.traces()
    answer = post(service, key, BODY | other)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/idempotency-key-reused"
    assert answer.json()["job_id"] == job["id"]
    assert "new key" in answer.json()["detail"]
    assert service.traces() == before


def test_a_refused_request_does_not_use_the_key_up(service: Service, key: str) -> None:
    assert post(service, key, BODY | {"samples_per_class": {"bag": -3}}).status_code == 422
    answer = post(service, key)
    assert answer.status_code == 202
    assert "idempotent-replayed" not in answer.headers


def test_without_a_key_every_request_is_a_job(service: Service) -> None:
    before = jobs(service)
    assert post(service, None).json()["id"] != post(service, None).json()["id"]
    assert jobs(service) == before + 2


def test_two_tenants_may_choose_the_same_key(service: Service, key: str) -> None:
    bearer = service.add_tenant("other")
    mine = post(service, key).json()
    theirs = post(service, key, {"model": "fashion-cgan", "samples_per_class": 1}, bearer)
    # The other tenant has no model of its own yet: what matters is that no job of mine shows.
    assert theirs.status_code == 422
    assert mine["id"] not in theirs.text
    assert theirs.json()["type"] == "/problems/unknown-model"


@pytest.mark.parametrize(
    "key", ["", "x" * 256, '"' + "x" * 256 + '"', "clé".encode(), b"tab\there", b"\xff", '""']
)
def test_a_key_that_is_none_is_refused(service: Service, key: str | bytes) -> None:
    before = service.traces()
    answer = post(service, key)
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/malformed-request"
    assert "1 to 255 printable ASCII" in answer.json()["detail"]
    assert service.traces() == before


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b", "'; DROP TABLE jobs; --", "%00", '"'])
def test_any_printable_key_is_one(service: Service, key: str) -> None:
    assert post(service, key).json()["id"] == post(service, key).json()["id"]


def test_quotes_around_a_key_are_syntax(service: Service, key: str) -> None:
    assert post(service, f'"{key}"').json()["id"] == post(service, key).json()["id"]


def test_fifty_at_once_make_one_job(service: Service) -> None:
    clients, rounds, before = 50, 3, jobs(service)
    with ThreadPoolExecutor(clients) as pool:
        for number in range(rounds):
            at_once = threading.Barrier(clients)

            def ask(_: int, key: str = f"race-{number}", gate: Any = at_once) -> httpx.Response:
                gate.wait(30)
                return post(service, key)

            answers = list(pool.map(ask, range(clients)))
            assert {answer.status_code for answer in answers} == {202}
            assert len({answer.json()["id"] for answer in answers}) == 1
            replayed = ["idempotent-replayed" in answer.headers for answer in answers]
            assert replayed.count(False) == 1
    assert jobs(service) == before + rounds
