"""Whatever is sent, the answer is a success or a problem with a status below 500."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service import Service

fuzz = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

numbers = st.one_of(
    st.integers(-5, 5), st.integers(), st.floats(), st.sampled_from([2**31, 2**63, 10**30])
)
texts = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(), max_size=30),  # lone surrogates too
    st.sampled_from(["fashion-cgan", "bag", "../x", "a\x00b", "CON", "imagefolder", "x" * 3000]),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)
fields = st.sampled_from(
    ["model", "models", "samples_per_class", "samples", "seed", "formats", "tenant_id", "x"]
)
quotas = st.dictionaries(st.sampled_from(["bag", "coat", "hat"]), numbers, max_size=3)
bodies = st.one_of(
    documents,
    st.dictionaries(fields, documents, max_size=6),
    st.fixed_dictionaries({"model": st.just("fashion-cgan"), "samples_per_class": quotas}),
    st.fixed_dictionaries({"model": st.just("fashion-cgan"), "samples_per_class": documents}),
    st.fixed_dictionaries({"models": st.lists(documents), "samples_per_class": st.integers(1, 3)}),
)


def check(answer: httpx.Response, *successes: int) -> None:
    """A documented success, or a problem that blames the request."""
    if answer.status_code in successes:
        return
    assert 400 <= answer.status_code < 500 or answer.status_code == 507, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] not in ("/problems/internal", "about:blank")
    assert problem["detail"].isprintable()
    assert len(answer.content) < 200_000


def sent(service: Service, path: str, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return service.client.post(path, content=body, headers=headers)


@fuzz
@given(bodies)
def test_any_json_as_a_request(service: Service, body: Any) -> None:
    text = json.dumps(body).encode()  # ASCII: surrogates are escaped, NaN is written as NaN
    check(sent(service, "/v1/jobs/estimate", text), 200)
    check(sent(service, "/v1/jobs", text), 202)


@fuzz
@given(st.binary(max_size=200))
def test_any_bytes_as_a_request(service: Service, body: bytes) -> None:
    check(sent(service, "/v1/jobs", body))


@fuzz
@given(texts, texts, texts)
def test_any_words_in_paths_and_queries(service: Service, one: str, two: str, three: str) -> None:
    a, b, c = (quote(text, safe="", errors="replace") for text in (one, two, three))
    for path in (f"/v1/jobs/{a}", f"/v1/models/{a}", f"/v1/jobs/{a}/samples/{b}", f"/{a}/{b}"):
        check(service.client.get(path), 200)
    for path in (f"/v1/models/{a}/versions", f"/v1/models/{a}/export"):
        check(service.client.get(path), 200)
    check(service.client.put(f"/v1/models/{a}/default", json={"version": ascii(two)}))
    check(service.client.delete(f"/v1/models/{a}"))  # none but shipped ones are there
    check(service.client.get(f"/v1/jobs?limit={a}&after={b}&{c}={a}"), 200)
    check(service.client.get(f"/v1/jobs/{a}/archives/{b}"))


@pytest.fixture(scope="module")
def manifest(service: Service) -> str:
    """Path of a queued job's manifest."""
    body = {"model": "fashion-cgan", "samples_per_class": 1}
    return str(service.client.post("/v1/jobs", json=body).json()["links"]["manifest"])


@fuzz
@given(texts, texts, numbers)
def test_any_words_in_a_manifests_query(
    service: Service, manifest: str, after: str, name: str, limit: float
) -> None:
    query = {"after": after, "class": name, "limit": limit}
    parts = "&".join(f"{k}={quote(str(v), safe='', errors='replace')}" for k, v in query.items())
    check(service.client.get(f"{manifest}?{parts}"), 200)
