"""The manifest page by page and line by line, and the single samples that it speaks of."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import httpx
import pytest
from PIL import Image
from pyarrow import parquet

PARQUET = "application/vnd.apache.parquet"
Job = dict[str, Any]
NOTHING: dict[str, Any] = {"samples": [], "next": None, "refused": {}, "copies": None}


@pytest.mark.parametrize("limit", [1, 7, 100, 255, 1000])
def test_pages_hold_each_row_once(
    http: httpx.Client, finished: Job, rows: list[dict[str, Any]], limit: int
) -> None:
    if limit == 1:
        rows = rows[:5]
    found: list[dict[str, Any]] = []
    token = None
    while len(found) < len(rows):
        query = {"limit": limit} | ({"after": token} if token else {})
        page = http.get(finished["links"]["manifest"], params=query).json()
        assert 1 <= len(page["samples"]) <= limit
        found += page["samples"]
        token = page["next"]
        if token is None:
            break
    assert found == rows


def test_the_last_page_says_so(http: httpx.Client, finished: Job) -> None:
    url = finished["links"]["manifest"]
    assert http.get(url, params={"limit": 256}).json()["next"] is None
    full = http.get(url, params={"limit": 255}).json()["next"]
    if full is not None:
        assert http.get(url, params={"after": full}).json() == NOTHING


def test_one_class_of_the_manifest(
    http: httpx.Client, finished: Job, rows: list[dict[str, Any]]
) -> None:
    url = finished["links"]["manifest"]
    page = http.get(url, params={"class": "coat", "limit": 1000}).json()
    assert page["samples"] == [row for row in rows if row["class"] == "coat"]
    assert http.get(url, params={"class": "shirt"}).json() == NOTHING


def test_lines_by_accept_are_lines_by_name(http: httpx.Client, finished: Job) -> None:
    url = finished["links"]["manifest"]
    by_accept = http.get(url, headers={"Accept": "application/x-ndjson"})
    assert by_accept.headers["content-type"] == "application/x-ndjson"
    assert by_accept.content == http.get(f"{url}.ndjson").content


def test_the_parquet_file_has_the_rows_of_the_pages(
    http: httpx.Client, finished: Job, rows: list[dict[str, Any]]
) -> None:
    url = finished["links"]["manifest"]
    answer = http.get(f"{url}.parquet")
    assert answer.headers["content-type"] == PARQUET
    assert answer.headers["content-disposition"].endswith(f'{finished["id"]}.parquet"')
    found = parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    assert [row | {"created": row["created"].isoformat()} for row in found] == rows
    assert http.get(url, headers={"Accept": PARQUET}).content == answer.content


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("application/json, application/x-ndjson;q=0.5", "application/json"),
        ("text/html, application/x-ndjson;q=0.9, */*;q=0.1", "application/x-ndjson"),
        (f"{PARQUET}, application/json;q=0.9", PARQUET),
    ],
)
def test_accept_decides_the_form(
    http: httpx.Client, finished: Job, accept: str, content_type: str
) -> None:
    answer = http.get(finished["links"]["manifest"], headers={"Accept": accept})
    assert answer.headers["content-type"] == content_type


def test_a_form_that_there_is_not_is_refused(http: httpx.Client, finished: Job) -> None:
    answer = http.get(finished["links"]["manifest"], headers={"Accept": "text/csv"})
    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
    assert PARQUET in answer.json()["detail"]


# Single samples


def test_a_sample_is_the_file_in_the_archive(
    http: httpx.Client, finished: Job, rows: list[dict[str, Any]], archive: bytes
) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for row in (rows[0], rows[100], rows[254]):
            answer = http.get(f"{finished['links']['self']}/samples/{row['index']}")
            assert answer.headers["content-type"] == "image/png"
            assert answer.headers["etag"] == f'"sha256-{row["file_sha256"]}"'
            assert answer.content == opened.read(row["file"])
    beyond = http.get(f"{finished['links']['self']}/samples/255")
    assert beyond.status_code == 404
    assert "255" in beyond.json()["detail"]


def test_the_preview_shows_every_class(http: httpx.Client, finished: Job) -> None:
    answer = http.get(f"{finished['links']['self']}/preview.png")
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content), formats=("PNG",)) as sheet:
        assert sheet.height >= 4 * 28
        assert len(set(sheet.convert("L").tobytes())) > 50
