"""The client against a service that answers over a real socket, and sometimes badly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.client import Client
from app.client_errors import (
    ClientError,
    ConflictError,
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
from app.client_types import Job, JobRequest, JobState
from tests.fake_service import KEY, FakeService, Reply, problem

REQUEST: JobRequest = {"model": "tiny", "samples_per_class": {"bag": 3, "coat": 2}}


@pytest.fixture
def pauses() -> list[float]:
    """What the client slept, instead of sleeping."""
    return []


@pytest.fixture
def client(service: FakeService, pauses: list[float]) -> Iterator[Client]:
    with Client(service.url, KEY, attempts=4, sleep=pauses.append) as client:
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
    client: Client, service: FakeService, pauses: list[float]
) -> None:
    running = client.submit(REQUEST).model_dump_json().encode()
    headers = {"Content-Type": "application/json", "Retry-After": "5"}
    service.faults = [Reply(200, running, headers) for _ in range(20)]
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


def test_a_repeated_submission_keeps_its_key(client: Client, service: FakeService) -> None:
    service.faults = [problem(503, "unavailable", "Later.")]
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
    client: Client, service: FakeService, status: int, error: type[Exception]
) -> None:
    service.faults = [problem(status, "some-slug", "Do this.") for _ in range(4)]
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
    client: Client, service: FakeService, pauses: list[float]
) -> None:
    busy = problem(503, "unavailable", "Later.")
    busy.headers["Retry-After"] = "3"
    service.faults = [busy, busy]
    assert len(client.models()) == 1
    assert pauses == [3.0, 3.0]


def test_attempts_are_bounded(client: Client, service: FakeService, pauses: list[float]) -> None:
    service.faults = [problem(503, "unavailable", "Later.") for _ in range(100)]
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


def test_a_connection_cut_short_is_tried_again(client: Client, service: FakeService) -> None:
    service.faults = [Reply(200, b'{"models": []}', {"Content-Type": "application/json"}, 3)]
    assert len(client.models()) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"\xff"])
@pytest.mark.parametrize("status", [200, 404, 500])
def test_some_other_server_is_told_apart(
    client: Client, service: FakeService, body: bytes, status: int
) -> None:
    service.faults = [Reply(status, body, {"Content-Type": "text/html"})]
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
