"""Archives over HTTP: ranges, conditions and digests by RFC 9110 and 9530; readers not ours."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import shutil
import subprocess
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from torchvision.datasets import ImageFolder

from tests.builders import REQUEST

Job = dict[str, Any]


@pytest.fixture
def url(finished: Job) -> str:
    return str(finished["archives"][0]["url"])


@pytest.fixture
def tag(finished: Job) -> str:
    return f'"sha256-{finished["archives"][0]["sha256"]}"'


def test_the_whole_archive_is_what_the_job_says(
    http: httpx.Client, url: str, finished: Job, archive: bytes, tag: str
) -> None:
    listed = finished["archives"][0]
    assert len(archive) == listed["bytes"]
    assert hashlib.sha256(archive).hexdigest() == listed["sha256"]
    answer = http.get(url)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["etag"] == tag
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(len(archive))
    assert "content-encoding" not in answer.headers
    disposition = f'attachment; filename="{finished["id"]}-imagefolder.zip"'
    assert answer.headers["content-disposition"] == disposition


def test_the_digest_is_that_of_the_whole_archive(
    http: httpx.Client, url: str, archive: bytes
) -> None:
    expected = f"sha-256=:{base64.b64encode(hashlib.sha256(archive).digest()).decode()}:"
    assert http.get(url).headers["repr-digest"] == expected
    assert http.head(url).headers["repr-digest"] == expected
    part = http.get(url, headers={"Range": "bytes=10-19"})
    assert part.headers["repr-digest"] == expected


def test_head_equals_get_without_the_body(http: httpx.Client, url: str) -> None:
    head, get = http.head(url), http.get(url)
    assert head.status_code == 200
    assert head.content == b""
    ignored = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in get.headers.items() if k not in ignored
    }


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, None),
        ("bytes=100-299", 100, 300),
        ("bytes=100-", 100, None),
        ("bytes=-17", -17, None),
        ("bytes=-999999999", 0, None),
        ("bytes=5-999999999", 5, None),
        ("BYTES=5-9", 5, 10),
    ],
)
def test_a_range_is_the_slice(
    http: httpx.Client, url: str, archive: bytes, wanted: str, start: int, stop: int | None
) -> None:
    answer = http.get(url, headers={"Range": wanted})
    expected = archive[start:stop]
    first = len(archive) - len(expected) if stop is None else start
    assert answer.status_code == 206
    assert answer.content == expected
    last = first + len(expected) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(archive)}"


@pytest.mark.parametrize("beyond", ["{size}-", "{size}-{size}", "999999999-", "99999999999999999-"])
def test_a_range_beyond_the_end_is_a_problem(
    http: httpx.Client, url: str, archive: bytes, beyond: str
) -> None:
    answer = http.get(url, headers={"Range": "bytes=" + beyond.format(size=len(archive))})
    assert answer.status_code == 416
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-range"] == f"bytes */{len(archive)}"
    assert answer.json()["type"] == "/problems/range-not-satisfiable"
    assert str(len(archive)) in answer.json()["detail"]


@pytest.mark.parametrize(
    "nonsense",
    ["bytes=20-10", "lines=1-2", "bytes", "bytes=", "bytes=a-b", "=", "bytes=1-2-3"],
)
def test_a_range_that_means_nothing_is_ignored(
    http: httpx.Client, url: str, archive: bytes, nonsense: str
) -> None:
    answer = http.get(url, headers={"Range": nonsense})
    assert answer.status_code == 200
    assert answer.content == archive


def test_a_range_on_head_is_ignored(http: httpx.Client, url: str, archive: bytes) -> None:
    answer = http.head(url, headers={"Range": "bytes=1-2"})
    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(archive))


def test_many_ranges_get_a_bounded_answer(http: httpx.Client, url: str, archive: bytes) -> None:
    """As many as fit into a request's head: the whole archive, once, instead of all of them."""
    wanted = "bytes=" + ",".join(f"{k}-" for k in range(10_000))
    answer = http.get(url, headers={"Range": wanted})
    assert answer.status_code in (200, 400, 416, 431)
    assert len(answer.content) <= len(archive)
    answer = http.get(url, headers={"Range": "bytes=" + ",".join(["0-"] * 5_000)})
    assert answer.status_code in (200, 206, 416)
    assert len(answer.content) <= len(archive)


def test_several_ranges_are_parts(http: httpx.Client, url: str, archive: bytes) -> None:
    answer = http.get(url, headers={"Range": "bytes=0-9,100-109"})
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges")
    assert archive[0:10] in answer.content
    assert archive[100:110] in answer.content


def test_if_range_resumes_only_the_same_archive(
    http: httpx.Client, url: str, archive: bytes, tag: str
) -> None:
    def get(condition: str) -> httpx.Response:
        return http.get(url, headers={"Range": "bytes=100-", "If-Range": condition})

    assert get(tag).status_code == 206
    assert get(tag).content == archive[100:]
    for other in (f"W/{tag}", '"sha256-00"', "Wed, 21 Oct 2015 07:28:00 GMT", tag.strip('"')):
        answer = get(other)
        assert answer.status_code == 200, other
        assert answer.content == archive


def test_if_none_match_answers_304(http: httpx.Client, url: str, tag: str) -> None:
    for condition in (tag, f"W/{tag}", f'"other", {tag}', f'"other",W/{tag}', "*"):
        answer = http.get(url, headers={"If-None-Match": condition})
        assert answer.status_code == 304, condition
        assert answer.content == b""
        assert answer.headers["etag"] == tag
    for condition in ('"other"', tag.strip('"'), tag[:-2] + '"', ""):
        assert http.get(url, headers={"If-None-Match": condition}).status_code == 200, condition


def test_cut_downloads_resume_to_the_same_bytes(
    http: httpx.Client, url: str, archive: bytes, tag: str
) -> None:
    chance = random.Random(7)
    for _ in range(20):
        got = b""
        while len(got) < len(archive):
            headers = {"Range": f"bytes={len(got)}-", "If-Range": tag} if got else {}
            cut = chance.randrange(1, 80_000)
            with http.stream("GET", url, headers=headers) as answer:
                assert answer.status_code == (206 if got else 200)
                for chunk in answer.iter_raw():
                    got += chunk
                    cut -= len(chunk)
                    if cut <= 0:
                        break
        assert hashlib.sha256(got).digest() == hashlib.sha256(archive).digest()


# What is inside


def test_zipfile_and_unzip_find_it_whole(archive: bytes, finished: Job, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        assert len(opened.namelist()) == finished["archives"][0]["entries"] == 255 + 2
    if shutil.which("unzip"):
        (tmp_path / "a.zip").write_bytes(archive)
        subprocess.run(["unzip", "-tqq", tmp_path / "a.zip"], check=True, capture_output=True)


def test_checksums_cover_every_other_member(archive: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        lines = opened.read("SHA256SUMS").decode().splitlines()
        listed = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        assert set(listed) == set(opened.namelist()) - {"SHA256SUMS"}
        assert len(lines) == len(listed)
        for name, digest in listed.items():
            assert hashlib.sha256(opened.read(name)).hexdigest() == digest


def test_sha256sum_and_a_trainer_read_the_folder(archive: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for name in opened.namelist():
            target = tmp_path / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(opened.read(name))
    if shutil.which("sha256sum"):
        command = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    dataset = ImageFolder(str(tmp_path))
    made = Counter(dataset.classes[label] for _, label in dataset.samples)
    assert made == REQUEST["samples_per_class"]
    picture, _ = dataset[0]
    assert picture.size == (28, 28)


# When there is none


@pytest.mark.parametrize(
    "path", ["imagefolder/..", "rar", "..%2f..%2fapi-key", "%00", "IMAGEFOLDER"]
)
def test_another_format_is_not_there(http: httpx.Client, finished: Job, path: str) -> None:
    answer = http.get(f"/v1/jobs/{finished['id']}/archives/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
