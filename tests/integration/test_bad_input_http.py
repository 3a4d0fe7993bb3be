"""Bad requests: each has its status, a problem that says what to do, and leaves nothing behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.storage import LocalStorage
from tests.builders import REQUEST
from tests.service import Service

JSON = {"Content-Type": "application/json"}
GOOD = json.dumps({**REQUEST, "samples_per_class": 1}).encode()
MIB = 1 << 20


def with_field(field: bytes) -> bytes:
    """A body whose quotas are this text."""
    return b'{"model": "fashion-cgan", "samples_per_class": %s}' % field


@dataclass(frozen=True)
class Case:
    """A request body, and what the answer must be."""

    body: bytes
    status: int
    slug: str
    headers: tuple[tuple[str, str], ...] = tuple(JSON.items())


def untyped(body: bytes, *headers: tuple[str, str]) -> Case:
    return Case(body, 415, "unsupported-media-type", headers)


CASES = {
    # A. What can't be read
    "no JSON": Case(b"samples=3", 400, "malformed-request"),
    "cut JSON": Case(GOOD[:-5], 400, "malformed-request"),
    "two documents": Case(GOOD + GOOD, 400, "malformed-request"),
    "not UTF-8": Case(b'{"model": "\xff\xfe"}', 400, "malformed-request"),
    "UTF-16": Case(GOOD.decode().encode("utf-16"), 400, "malformed-request"),
    "BOM": Case(b"\xef\xbb\xbf" + GOOD, 400, "malformed-request"),
    "nested": Case(b"[" * 100_000 + b"]" * 100_000, 400, "malformed-request"),
    "nested in a field": Case(with_field(b'{"bag":' * 10_000 + b"1" + b"}" * 10_000), 400, "malformed-request"),  # noqa: E501
    "NaN": Case(with_field(b"NaN"), 400, "malformed-request"),
    "Infinity": Case(with_field(b"-Infinity"), 400, "malformed-request"),
    "a number of 5,000 digits": Case(with_field(b"9" * 5_000), 400, "malformed-request"),
    "double key": Case(with_field(b'{"bag": 1, "bag": 2}'), 400, "malformed-request"),
    "double model": Case(b'{"model": "a", "model": "b", "samples": 1}', 400, "malformed-request"),
    "NUL in a key": Case(with_field(b'{"a\\u0000b": 1}'), 400, "malformed-request"),
    "lone surrogate in a key": Case(with_field(b'{"\\ud800": 1}'), 400, "malformed-request"),
    "too large": Case(GOOD + b" " * MIB, 413, "body-too-large"),
    "no media type": untyped(GOOD),
    "form": untyped(b"a=1&" * 10_000, ("Content-Type", "application/x-www-form-urlencoded")),
    "multipart": untyped(b"--x\r\n\r\n", ("Content-Type", "multipart/form-data; boundary=x")),
    "text": untyped(GOOD, ("Content-Type", "text/plain")),
    "JSON by another name": untyped(GOOD, ("Content-Type", "application/json-seq")),
    "another charset": untyped(GOOD, ("Content-Type", "application/json; charset=utf-16")),
    "compressed": untyped(GOOD, ("Content-Type", "application/json"), ("Content-Encoding", "gzip")),
    # A, E. What is understood and refused
    "nothing": Case(b"", 422, "validation"),
    "null": Case(b"null", 422, "validation"),
    "a list": Case(b"[1]", 422, "validation"),
    "a string": Case(b'"fashion-cgan"', 422, "validation"),
    "empty": Case(b"{}", 422, "validation"),
    "1e999": Case(with_field(b"1e999"), 422, "validation"),
    "unknown field": Case(GOOD.replace(b'"seed"', b'"sede"'), 422, "validation"),
    "tenant of another": Case(GOOD.replace(b'"seed": 7', b'"tenant_id": "other"'), 422, "validation"),  # noqa: E501
    "state": Case(GOOD.replace(b'"seed": 7', b'"state": "succeeded"'), 422, "validation"),
    "prototype": Case(GOOD.replace(b'"seed": 7', b'"__proto__": {}'), 422, "validation"),
    "seed below": Case(GOOD.replace(b": 7", b": -1"), 422, "validation"),
    "seed above": Case(GOOD.replace(b": 7", b": 9007199254740992"), 422, "validation"),
    "seed of words": Case(GOOD.replace(b": 7", b': "7"'), 422, "validation"),
    "seed of 2^64": Case(GOOD.replace(b": 7", b": 18446744073709551616"), 422, "validation"),
    "format": Case(GOOD.replace(b": 7", b': 7, "formats": ["rar"]'), 422, "validation"),
    "no format": Case(GOOD.replace(b": 7", b': 7, "formats": []'), 422, "validation"),
    "samples of a conditional model": Case(b'{"model":"fashion-cgan","samples":5}', 422, "validation"),  # noqa: E501
    "zero": Case(with_field(b"0"), 422, "validation"),
    "zero of a class": Case(with_field(b'{"bag": 0}'), 422, "validation"),
    "negative": Case(with_field(b"-1"), 422, "validation"),
    "half": Case(with_field(b"1.5"), 422, "validation"),
    "one point zero": Case(with_field(b"1.0"), 422, "validation"),
    "true": Case(with_field(b"true"), 422, "validation"),
    "words": Case(with_field(b'"10"'), 422, "validation"),
    "class of true": Case(with_field(b'{"bag": true}'), 422, "validation"),
    "2^31": Case(with_field(b"2147483648"), 422, "job-too-large"),
    "2^63": Case(with_field(b'{"bag": 9223372036854775808}'), 422, "job-too-large"),
    "10^12": Case(with_field(b'{"bag": 1000000000000}'), 422, "job-too-large"),
    "4,300 digits": Case(with_field(b"9" * 4_300), 422, "job-too-large"),
    "unknown model": Case(GOOD.replace(b"-cgan", b"-gone"), 422, "unknown-model"),
    "unknown version": Case(GOOD.replace(b"-cgan", b"-cgan@99"), 422, "unknown-model"),
    "model of NUL": Case(GOOD.replace(b"-cgan", b"\\u0000"), 422, "unknown-model"),
    "model of a surrogate": Case(GOOD.replace(b"-cgan", b"\\ud800"), 422, "validation"),
    "model of a path": Case(GOOD.replace(b"fashion-cgan", b"../../etc/passwd"), 422, "unknown-model"),  # noqa: E501
    "model of SQL": Case(GOOD.replace(b"-cgan", b"' OR '1'='1"), 422, "unknown-model"),
    "model of 1 MB": Case(GOOD.replace(b"-cgan", b"x" * 900_000), 422, "validation"),
    "no model": Case(GOOD.replace(b"fashion-cgan", b""), 422, "validation"),
    "model twice": Case(b'{"models":[{"model":"fashion-cgan"},{"model":"fashion-cgan"}],"samples_per_class":1}', 422, "validation"),  # noqa: E501
    "10,000 classes": Case(with_field(json.dumps({f"c{k}": 1 for k in range(10_000)}).encode()), 422, "unknown-class"),  # noqa: E501
}  # fmt: skip

HOSTILE_CLASSES = (
    "../x", ".", "", " bag", "bag ", "BAG", "CON", "NUL.txt", "a/b", "a\\b", "a\nb", "\x1b[31m",
    "\N{SNOWMAN}", "\N{ZERO WIDTH JOINER}", "\N{RIGHT-TO-LEFT OVERRIDE}gab", "-rf", "=cmd()",
    "<script>", "%2e%2e", "{{7*7}}", "'; DROP TABLE jobs; --", "x" * 10_000,
)  # fmt: skip


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem of an answer, after everything that all problems must have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"/problems/{slug}"
    assert found["status"] == status
    assert found["title"]
    assert found["detail"].endswith(".")
    assert found["detail"].isprintable()
    assert len(found["detail"]) < 3_000
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["instance"]
    for leak in ("Traceback", "sqlalchemy", "psycopg", "site-packages", ".py"):
        assert leak not in answer.text
    return found


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/estimate", "/v1/samples"])
@pytest.mark.parametrize("name", CASES)
def test_a_bad_body_is_refused_and_leaves_nothing(service: Service, name: str, path: str) -> None:
    case = CASES[name]
    before = service.traces()
    answer = service.client.post(path, content=case.body, headers=dict(case.headers))
    found = problem(answer, case.status, case.slug)
    for entry in found.get("errors", []):
        assert set(entry) == {"detail", "pointer"}
        assert entry["pointer"].isascii()
    assert service.traces() == before


@pytest.mark.parametrize("name", HOSTILE_CLASSES)
def test_a_hostile_class_is_an_unknown_one(service: Service, name: str) -> None:
    before = service.traces()
    body = {"model": "fashion-cgan", "samples_per_class": {name: 3}}
    found = problem(service.client.post("/v1/jobs", json=body), 422, "unknown-class")
    assert "bag" in found["known_classes"]
    assert found["detail"].isascii()
    assert service.traces() == before


def test_validation_points_at_what_is_wrong(service: Service) -> None:
    body = {"model": 7, "seed": -1, "a/b~c": 1, "samples_per_class": {"bag": "x"}}
    found = problem(service.client.post("/v1/jobs", json=body), 422, "validation")
    pointers = {entry["pointer"] for entry in found["errors"]}
    assert {"/model", "/seed", "/a~1b~0c"} <= pointers
    assert any(pointer.startswith("/samples_per_class") for pointer in pointers)


@pytest.mark.parametrize(
    "body", [b'{"model": ', b'{"model": "a", "model": "b"}', b"NaN", b"\xff", GOOD + b" " * MIB]
)
def test_what_is_wrong_with_unreadable_json_is_said(service: Service, body: bytes) -> None:
    detail = service.client.post("/v1/jobs", content=body, headers=JSON).json()["detail"]
    assert detail != "The request can't be read."


def test_a_body_in_many_chunks_is_bounded_too(service: Service) -> None:
    sent = 0

    def chunks() -> Any:
        nonlocal sent
        for _ in range(64):
            sent += 1
            yield b" " * (MIB // 16)

    answer = service.client.post("/v1/jobs", content=chunks(), headers=JSON)
    problem(answer, 413, "body-too-large")
    assert answer.json()["limit"] == MIB


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/v1", 404, "not-found"),
        ("GET", "/v1/jobs/", 404, "not-found"),
        ("GET", "/v1/../v1/nowhere", 404, "not-found"),
        ("GET", "//proc/self/root", 404, "not-found"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "not-found"),
        ("GET", "/\N{SNOWMAN}/\N{RIGHT-TO-LEFT OVERRIDE}", 404, "not-found"),
        ("GET", "/%c0%ae%c0%ae/", 404, "not-found"),
        ("GET", "/v1/models/nothing", 404, "not-found"),
        ("GET", "/v1/models/fashion-cgan@99", 404, "not-found"),
        ("GET", "/v1/models/fashion-cgan@", 404, "not-found"),
        ("GET", "/v1/models/fashion-cgan@1@1", 404, "not-found"),
        ("GET", "/v1/models/x%00", 404, "not-found"),
        ("GET", "/v1/models/x%0a%1b[31m", 404, "not-found"),
        ("GET", "/v1/models/nothing/preview.png", 404, "not-found"),
        ("GET", "/v1/jobs/job_0", 404, "not-found"),
        ("GET", "/v1/jobs/job_0%00", 404, "not-found"),
        ("GET", "/v1/jobs/%2e%2e%2fapi-key", 404, "not-found"),
        ("GET", "/v1/jobs/job_0;x", 404, "not-found"),
        ("GET", "/v1/jobs/job_0%23x", 404, "not-found"),
        ("GET", "/v1/jobs/" + "x" * 5_000, 404, "not-found"),
        ("GET", "/v1/jobs/' OR '1'='1", 404, "not-found"),
        ("GET", "/v1/jobs/job_0/manifest", 404, "not-found"),
        ("GET", "/v1/jobs/job_0/manifest.ndjson", 404, "not-found"),
        ("GET", "/v1/jobs/job_0/preview.png", 404, "not-found"),
        ("GET", "/v1/jobs/job_0/samples/0", 404, "not-found"),
        ("GET", "/v1/jobs/job_0/samples/-1", 422, "validation"),
        ("GET", "/v1/jobs/job_0/samples/1.5", 422, "validation"),
        ("GET", "/v1/jobs/job_0/samples/99999999999999999999999", 422, "validation"),
        ("GET", "/v1/jobs/job_0/samples/" + "9" * 5_000, 422, "validation"),
        ("GET", "/v1/jobs/job_0/archives/imagefolder", 404, "not-found"),
        ("POST", "/v1/jobs/job_0/cancel", 404, "not-found"),
        ("GET", "/v1/jobs?limit=0", 422, "validation"),
        ("GET", "/v1/jobs?limit=-1", 422, "validation"),
        ("GET", "/v1/jobs?limit=x", 422, "validation"),
        ("GET", "/v1/jobs?limit=100000", 422, "validation"),
        ("GET", "/v1/jobs?after=x", 400, "malformed-request"),
        ("GET", "/v1/jobs?after=%00", 400, "malformed-request"),
        ("GET", "/v1/jobs?after=\N{SNOWMAN}", 400, "malformed-request"),
        ("GET", "/v1/jobs?after=LTU", 400, "malformed-request"),
        ("GET", "/v1/jobs?after=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", 400, "malformed-request"),
        ("GET", "/v1/jobs?after=" + "x" * 101, 422, "validation"),
        ("GET", "/problems/nothing", 404, "not-found"),
        ("DELETE", "/v1/jobs", 405, "method-not-allowed"),
        ("PUT", "/v1/jobs/job_0", 405, "method-not-allowed"),
        ("TRACE", "/v1/jobs", 405, "method-not-allowed"),
        ("BREW", "/livez", 405, "method-not-allowed"),
        ("PUT", "/v1/models", 405, "method-not-allowed"),
        ("GET", "/v1/jobs/job_0/cancel", 405, "method-not-allowed"),
    ],
)
def test_paths_and_queries_that_lead_nowhere(
    service: Service, method: str, path: str, status: int, slug: str
) -> None:
    before = service.traces()
    answer = service.client.request(method, path)
    problem(answer, status, slug)
    if status == 405:
        assert answer.headers["allow"]
    assert service.traces() == before


@pytest.mark.parametrize("query", ["?tenant=other", "?tenant_id=other", "?owner_id[]=other"])
def test_a_query_never_widens_what_is_seen(service: Service, query: str) -> None:
    service.client.post("/v1/jobs", content=GOOD, headers=JSON)
    mine = service.client.get("/v1/jobs").json()
    assert service.client.get(f"/v1/jobs{query}").json() == mine


@pytest.mark.parametrize("host", ["x/admin?", "evil.example", "", "127.0.0.1:1"])
def test_a_forged_host_changes_nothing(service: Service, host: str) -> None:
    service.client.post("/v1/jobs", content=GOOD, headers=JSON)
    honest = service.client.get("/v1/jobs").json()
    answer = service.client.get("/v1/jobs", headers={"Host": host})
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert answer.json() == honest
    assert host == "" or host not in answer.text


def test_what_the_manifest_does_not_come_as(service: Service) -> None:
    job = service.client.post("/v1/jobs", content=GOOD, headers=JSON).json()
    manifest = job["links"]["manifest"]
    problem(service.client.get(manifest, headers={"Accept": "image/png"}), 406, "not-acceptable")
    found = problem(service.client.get(f"{manifest}?class=../x"), 422, "unknown-class")
    assert "bag" in found["detail"]
    for query in ("after=x", "after=LTE"):
        problem(service.client.get(f"{manifest}?{query}"), 400, "malformed-request")
    problem(service.client.get(f"{manifest}?limit=0"), 422, "validation")


def test_before_anything_is_stored(service: Service) -> None:
    job = service.client.post("/v1/jobs", content=GOOD, headers=JSON).json()
    url = job["links"]["self"]
    answer = service.client.get(f"{url}/archives/imagefolder")
    problem(answer, 409, "archive-not-ready")
    assert answer.headers["retry-after"] == "1"
    problem(service.client.get(f"{url}/archives/rar"), 404, "not-found")
    problem(service.client.get(f"{url}/samples/0"), 404, "not-found")
    problem(service.client.get(f"{url}/preview.png"), 404, "not-found")
    assert service.client.get(f"{url}/manifest").json() == {
        "samples": [],
        "next": None,
        "refused": {},
        "copies": None,
    }
    assert service.client.get(f"{url}/manifest.ndjson").content == b""


def test_a_job_that_the_disk_has_no_room_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalStorage, "free_bytes", lambda _: 50 * MIB)
    before = service.traces()
    body = {"model": "fashion-cgan", "samples_per_class": 10_000}
    found = problem(service.client.post("/v1/jobs", json=body), 507, "storage-full")
    assert "50 MiB are free" in found["detail"]
    assert service.traces() == before


def test_every_problem_type_is_explained(service: Service) -> None:
    for slug in ("validation", "not-found", "job-too-large", "class-ran-dry", "internal"):
        answer = service.client.get(f"/problems/{slug}")
        assert answer.status_code == 200
        assert answer.json()["meaning"]
