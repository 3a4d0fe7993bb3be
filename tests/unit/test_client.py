"""The client against a service that answers over a real socket, and sometimes badly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.client import Client
from app.client_errors import (
    ClientError,
    ConflictError,
    DownloadCorruptError,
    InvalidRequestError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    ServerUnreachableError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)
from app.client_types import Job, JobState

if TYPE_CHECKING:
    from tests.unit.conftest import FakeService, Make

REQUEST = {"model": "tiny", "samples_per_class": {"bag": 3, "coat": 2}}


@pytest.fixture
def pauses() -> list[float]:
    """What the client slept, instead of sleeping."""
    return []


@pytest.fixture
def client(service: FakeService, make: Make, pauses: list[float]) -> Iterator[Client]:
    with Client(service.url, make.key, attempts=4, sleep=pauses.append) as client:
        yield client


def test_models(client: Client) -> None:
    assert [model.reference for model in client.models()] == ["tiny@1"]
    assert client.models()[0].spec is None
    assert client.model("tiny@1").spec == {"format": 1}
    assert client.preview("tiny").startswith(b"\x89PNG")


def test_a_job_from_submission_to_success(client: Client, pauses: list[float]) -> None:
    seen: list[Job] = []
    job = client.wait(client.submit(REQUEST), seen.append)
    assert job.state is JobState.SUCCEEDED
    assert [one.state.value for one in seen] == ["running", "finalizing", "succeeded"]
    assert pauses == pytest.approx([0.05, 0.075])


def test_polling_grows_to_what_the_service_asks_and_does_not_repeat_itself(
    client: Client, service: FakeService, pauses: list[float]
) -> None:
    service.states = ["running"] * 20
    seen: list[Job] = []
    client.wait("job_1", seen.append)
    assert [one.state.value for one in seen] == ["running", "succeeded"]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    assert sum("if-none-match" in headers for _, _, headers, _ in service.seen) == 19


def test_the_service_may_ask_for_longer_pauses(
    client: Client, service: FakeService, make: Make, pauses: list[float]
) -> None:
    running = client.submit(REQUEST).model_dump_json().encode()
    headers = {"Content-Type": "application/json", "Retry-After": "5"}
    service.faults = [make.reply(200, running, headers) for _ in range(20)]
    client.wait("job_1")
    assert max(pauses) == 5.0


def test_a_failed_job_says_why(client: Client, service: FakeService) -> None:
    service.last_state = "failed"
    with pytest.raises(
        JobFailedError, match=r"job_1 failed: Class bag ran dry\. Ask for less"
    ) as e:
        client.wait(client.submit(REQUEST))
    assert e.value.job.state is JobState.FAILED


def test_a_cancelled_job_ends_the_wait(client: Client) -> None:
    job = client.submit(REQUEST)
    assert client.cancel(job).state is JobState.CANCELLED
    assert client.cancel(job).state is JobState.CANCELLED
    with pytest.raises(JobCancelledError):
        client.wait(job)


def test_the_wait_can_be_limited(client: Client, service: FakeService) -> None:
    service.states = ["running"] * 100
    with pytest.raises(WaitTimeoutError, match="it goes on"):
        client.wait("job_1", timeout_seconds=0)


def test_every_submission_carries_a_key_of_its_own(client: Client, service: FakeService) -> None:
    client.submit(REQUEST)
    client.submit(REQUEST)
    client.submit(REQUEST, idempotency_key="mine")
    keys = [headers["idempotency-key"] for verb, _, headers, _ in service.seen if verb == "POST"]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_a_repeated_submission_keeps_its_key(
    client: Client, service: FakeService, make: Make
) -> None:
    service.faults = [make.problem(503, "unavailable", "Later.")]
    client.submit(REQUEST)
    keys = [headers["idempotency-key"] for _, _, headers, _ in service.seen]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_lists_are_read_page_by_page(client: Client, service: FakeService) -> None:
    assert [job.id for job in client.jobs()] == [f"job_{index}" for index in range(5)]
    assert [job.id for job in client.jobs(limit=3)] == ["job_0", "job_1", "job_2"]
    before = len(service.seen)
    next(client.jobs())
    assert len(service.seen) == before + 1


def test_manifest_pages(client: Client) -> None:
    pages = list(client.manifest("job_1", page_size=2))
    assert [[row.index for row in page] for page in pages] == [[0, 1], [2, 3], [4]]
    assert pages[0][0].class_name == "bag"
    coats = [row.index for page in client.manifest("job_1", "coat") for row in page]
    assert coats == [3, 4]


def test_an_estimate(client: Client) -> None:
    estimate = client.estimate(REQUEST)
    assert (estimate.samples, estimate.archive_bytes, estimate.seconds) == (5, 900, None)


# Refusals


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequestError),
        (401, UnauthorizedError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, InvalidRequestError),
        (503, UnavailableError),
    ],
)
def test_a_problem_becomes_its_error(
    client: Client, service: FakeService, make: Make, status: int, error: type[Exception]
) -> None:
    service.faults = [make.problem(status, "some-slug", "Do this.") for _ in range(4)]
    with pytest.raises(error, match=r"^Do this\.$") as caught:
        client.models()
    assert caught.value.slug == "some-slug"  # type: ignore[attr-defined]


def test_pointed_errors_are_part_of_the_sentence(client: Client) -> None:
    with pytest.raises(InvalidRequestError, match=r"\(/samples_per_class: not a class\)"):
        client.submit({"model": "tiny", "samples_per_class": {"hat": 1}})


def test_a_wrong_key_is_refused_and_not_shown(service: FakeService) -> None:
    with Client(service.url, "wrong-key") as client, pytest.raises(UnauthorizedError) as caught:
        client.models()
    assert "wrong-key" not in str(caught.value)


def test_busy_answers_are_repeated_after_the_time_they_name(
    client: Client, service: FakeService, make: Make, pauses: list[float]
) -> None:
    busy = make.problem(503, "unavailable", "Later.")
    busy.headers["Retry-After"] = "3"
    service.faults = [busy, busy]
    assert len(client.models()) == 1
    assert pauses == [3.0, 3.0]


def test_attempts_are_bounded(
    client: Client, service: FakeService, make: Make, pauses: list[float]
) -> None:
    service.faults = [make.problem(503, "unavailable", "Later.") for _ in range(100)]
    with pytest.raises(UnavailableError):
        client.models()
    assert len(service.seen) == 4
    assert len(pauses) == 3


def test_a_refusal_is_not_repeated(client: Client, service: FakeService) -> None:
    with pytest.raises(NotFoundError):
        client.job("job_nowhere")
    assert service.paths() == ["/v1/jobs/job_nowhere"]


def test_nobody_there(pauses: list[float]) -> None:
    client = Client("http://127.0.0.1:9", "k", attempts=3, sleep=pauses.append)
    with client, pytest.raises(ServerUnreachableError, match="start one with `synthloom serve`"):
        client.models()
    assert len(pauses) == 2


def test_a_connection_cut_short_is_tried_again(
    client: Client, service: FakeService, make: Make
) -> None:
    service.faults = [make.reply(200, b'{"models": []}', {"Content-Type": "application/json"}, 3)]
    assert len(client.models()) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"\xff"])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_some_other_server_is_told_apart(
    client: Client, service: FakeService, make: Make, body: bytes, status: int
) -> None:
    service.faults = [make.reply(status, body, {"Content-Type": "text/html"})]
    with pytest.raises(UnexpectedAnswerError, match=r"check (that )?the address"):
        client.models()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8008", "ftp://x", "http://", "http://[", "x y"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        Client(url)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_can_be_none(key: str) -> None:
    with pytest.raises(ValueError, match="API key"):
        Client(api_key=key)


@pytest.mark.parametrize("name", ["../../livez", "a/b", "a?b#c", "ü"])
def test_names_stay_in_their_place(client: Client, service: FakeService, name: str) -> None:
    with pytest.raises(NotFoundError):
        client.model(name)
    assert service.paths() == [f"/v1/models/{name}"]


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_are_none_are_not_sent(client: Client, service: FakeService, name: str) -> None:
    with pytest.raises(ClientError):
        client.job(name)
    assert service.seen == []


# Downloads


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
            service.faults = [make.reply(200, good[:-1] + b"?", digest.headers)]

    service.on_request = damage
    with pytest.raises(DownloadCorruptError):
        ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"what was there before"
    assert leftovers(tmp_path) == ["a.zip"]


def authorized(make: Make) -> dict[str, str]:
    return {"authorization": f"Bearer {make.key}", "head": "yes"}


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
    from app import client_download

    class Usage:
        free = 10

    monkeypatch.setattr(client_download.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(client_download.NoSpaceError, match="no room"):
        ready.download("job_1", "imagefolder", tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
