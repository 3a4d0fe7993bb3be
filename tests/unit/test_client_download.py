"""A download is whole and right, or it is not there; and what has arrived is not lost."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.client import Client
from app.client_errors import (
    ConflictError,
    DownloadCorruptError,
    NoSpaceError,
    NotFoundError,
    ServerUnreachableError,
)
from app.client_types import JobRequest
from tests.fake_service import KEY, FakeService, Reply
from tests.made_datasets import Make

REQUEST: JobRequest = {"model": "tiny", "samples_per_class": {"bag": 3, "coat": 2}}


@pytest.fixture
def client(service: FakeService) -> Iterator[Client]:
    with Client(service.url, KEY, attempts=4, sleep=lambda seconds: None) as client:
        yield client


@pytest.fixture
def ready(client: Client, service: FakeService) -> Client:
    """A client whose job has an archive."""
    client.wait(client.submit(REQUEST))
    service.seen.clear()
    return client


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_download_is_whole(ready: Client, service: FakeService, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    target = tmp_path / "new" / "a.zip"
    found = ready.download("job_1", "imagefolder", target, lambda *step: steps.append(step))
    assert target.read_bytes() == service.archive
    assert found.sha256 == hashlib.sha256(service.archive).hexdigest()
    assert steps[-1] == (len(service.archive), len(service.archive))
    assert leftovers(target.parent) == ["a.zip"]


def test_a_broken_download_goes_on_where_it_broke(
    ready: Client, service: FakeService, tmp_path: Path
) -> None:
    service.cuts = [100, 50, 200]
    found = ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert found.path.read_bytes() == service.archive
    ranges = [headers.get("range") for verb, _, headers, _ in service.seen if verb == "GET"]
    assert ranges == [None, "bytes=100-", "bytes=150-", "bytes=350-"]
    assert all("if-range" in headers for _, _, headers, _ in service.seen if "range" in headers)


def test_an_abandoned_download_is_taken_up_by_the_next_call(
    ready: Client, service: FakeService, tmp_path: Path
) -> None:
    target = tmp_path / "a.zip"

    def stop(done: int, total: int) -> None:
        if done < total:
            raise KeyboardInterrupt

    service.cuts = [300]
    with pytest.raises(KeyboardInterrupt):
        ready.download("job_1", "imagefolder", target, stop)
    assert not target.exists()
    service.seen.clear()
    ready.download("job_1", "imagefolder", target)
    assert target.read_bytes() == service.archive
    assert service.seen[-1][2]["range"] == "bytes=300-"
    assert leftovers(tmp_path) == ["a.zip"]


def test_slow_progress_is_progress(ready: Client, service: FakeService, tmp_path: Path) -> None:
    service.cuts = [20] * 30  # far more breaks than attempts
    ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == service.archive


def test_no_progress_ends(ready: Client, service: FakeService, tmp_path: Path) -> None:
    service.cuts = [40] + [0] * 100
    with pytest.raises(ServerUnreachableError):
        ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_an_archive_that_changed_meanwhile_is_not_mixed(
    ready: Client, service: FakeService, make: Make, tmp_path: Path
) -> None:
    old = service.archive

    def change(method: str, path: str) -> None:
        if method == "GET" and path.endswith("imagefolder") and len(service.paths()) == 2:
            service.archive = make.zipped({"other": b"shorter"})

    service.cuts, service.on_request = [100], change
    with pytest.raises(DownloadCorruptError, match=r"changed on the way.*download it again"):
        ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert leftovers(tmp_path) == []
    service.on_request = lambda method, path: None
    ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == service.archive != old


def test_damaged_bytes_are_discarded(
    ready: Client, service: FakeService, make: Make, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(b"what was there before")
    good = service.archive
    digest = service.answer("HEAD", "/v1/jobs/job_1/archives/imagefolder", authorized(make), b"")

    def damage(method: str, path: str) -> None:
        if method == "GET" and path.endswith("imagefolder"):
            service.faults = [Reply(200, good[:-1] + b"?", digest.headers)]

    service.on_request = damage
    with pytest.raises(DownloadCorruptError):
        ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"what was there before"
    assert leftovers(tmp_path) == ["a.zip"]


def authorized(make: Make) -> dict[str, str]:
    return {"authorization": f"Bearer {KEY}", "head": "yes"}


def test_a_part_that_was_tampered_with_is_found_out(
    ready: Client, service: FakeService, tmp_path: Path
) -> None:
    digest = hashlib.sha256(service.archive).hexdigest()
    part = tmp_path / f".a.zip.{digest[:16]}.part"
    part.write_bytes(b"x" * 50)
    with pytest.raises(DownloadCorruptError):
        ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert leftovers(tmp_path) == []


def test_a_part_that_is_too_long_is_started_over(
    ready: Client, service: FakeService, tmp_path: Path
) -> None:
    digest = hashlib.sha256(service.archive).hexdigest()
    (tmp_path / f".a.zip.{digest[:16]}.part").write_bytes(b"x" * 100_000)
    ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == service.archive


def test_an_archive_that_is_not_ready(client: Client, service: FakeService, tmp_path: Path) -> None:
    client.submit(REQUEST)
    with pytest.raises(ConflictError, match="not ready"):
        client.download("job_1", "imagefolder", tmp_path / "a.zip")
    with pytest.raises(NotFoundError):
        client.download("job_1", "no-such-format", tmp_path / "a.zip")
    assert leftovers(tmp_path) == []


def test_a_full_disk(ready: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(NoSpaceError, match="no room"):
        ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
