"""Webhooks: where they may go, how they are signed, what is noted, what is tried again."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from app.api.idempotency import fingerprint_of
from app.cli.told import webhook_facts
from app.db.tables import DEFAULT_TENANT, Job, Run, RunKind
from app.errors import ConfigurationError, GateFailedError, JobError, ValidationError
from app.jobs import lifecycle
from app.jobs.request import JobRequest
from app.jobs.webhook import Webhook, check_place, is_public
from app.runs import lifecycle as lifecycle_of_runs
from app.settings import Settings
from app.webhooks.delivery import deliver, pause_seconds
from app.webhooks.sending import send
from app.webhooks.signing import headers_of, secrets_of
from tests.builders import REQUEST, planned, spec
from tests.databases import fresh_sqlite
from tests.local_worker import MODEL, LocalWorker
from tests.receiver import Receiver, receiving

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[LocalWorker]:
    settings = {
        "webhook_secret": SECRET,
        "webhook_private_addresses": True,
        "webhook_attempts": 3,
        "shard_samples": 100,
    }
    made = LocalWorker(tmp_path / "data", fresh_sqlite(tmp_path), **settings)
    yield made
    made.close()


def ended(worker: LocalWorker, receiver: Receiver) -> Job:
    """A job that has succeeded and wants it to be told."""
    body = {"model": MODEL, "samples_per_class": {"bag": 3}, "webhook": {"url": receiver.url}}
    job = worker.ask(JobRequest.model_validate(body))
    worker.run_shards(job)
    worker.finalize(job)
    assert worker.state(job) == "succeeded"
    return job


def queued(worker: LocalWorker) -> list[tuple[str, int]]:
    """State and milliseconds of waiting of each attempt that the engine knows."""
    query = sa.text(
        "SELECT status, coalesce(delay_until_epoch_ms - created_at, 0) FROM workflow_status "
        "WHERE workflow_uuid LIKE 'webhook-%' ORDER BY workflow_uuid"
    )
    with worker.database.connect() as connection:
        return [(str(status), int(wait)) for status, wait in connection.execute(query)]


def noted(worker: LocalWorker, job: Job) -> dict[str, Any]:
    with worker.context.transaction() as session:
        return dict(session.execute(
            sa.select(Job.webhook).where(Job.number == job.number)).scalar_one() or {})  # fmt: skip


# Places


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700:4700::1111", True), ("127.0.0.1", False), ("0.0.0.0", False),
        ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False), ("100.64.0.1", False),
        ("169.254.169.254", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("192.0.2.1", False), ("::", False), ("::1", False), ("fe80::1", False), ("fc00::1", False),
        ("fd00:ec2::254", False), ("fec0::1", False), ("ff02::1", False), ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:8.8.8.8", False), ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False), ("2001:0:4136:e378::", False), ("::127.0.0.1", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/",
        "https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://10.0.0.1:8443/",
        "https://169.254.169.254/latest", "https://2130706433/", "https://0x7f000001/",
        "https://0177.0.0.1/", "https://127.1/", "https://metadata.google.internal/",
    ],
)  # fmt: skip
def test_a_place_that_is_not_public_is_refused_at_the_door(url: str) -> None:
    with pytest.raises(ValidationError, match=r"webhook"):
        check_place(Webhook(url=url), private_allowed=False)
    check_place(Webhook(url=url), private_allowed=True)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org", "https://", "https:///x", "https://u:p@example.org/",
        "https://example.org/#x", "https://example.org:99999/", "https://exa mple.org/",
        "https://example.org/\n", "https://[::1/", "file:///etc/passwd", "https://é.org/",
        "https://e.org/" + "a" * 2_000,
    ],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        Webhook(url=url)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_nothing_is_sent_to_where_a_name_must_not_lead(receiver: Receiver, host: str) -> None:
    outcome = send(f"http://{host}:{receiver.port}/", {}, b"{}", private_allowed=False)
    assert outcome.error == "the name leads to a private address"
    assert receiver.seen == []
    assert send(f"http://{host}:{receiver.port}/", {}, b"{}", private_allowed=True).delivered
    assert len(receiver.seen) == 1


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.statuses, receiver.location = [307], "/elsewhere"
    outcome = send(receiver.url, {}, b"{}", private_allowed=True)
    assert (outcome.status, outcome.delivered, len(receiver.seen)) == (307, False, 1)


def test_nobody_there(receiver: Receiver) -> None:
    assert send("http://127.0.0.1:9/", {}, b"{}", True).error.startswith("the connection was refu")  # type: ignore[union-attr]
    assert send("http://no.such.name.invalid/", {}, b"{}", True).error == "the name can't be resolved"  # noqa: E501  # fmt: skip


# Signatures


def test_an_independent_reader_verifies_the_signature() -> None:
    body = '{"type":"job.succeeded","é":1}'.encode()
    keys = secrets_of(Settings(webhook_secret=f"{OTHER} {SECRET}", _env_file=None))
    headers = headers_of(keys, "msg_1", int(time.time()), body)
    for secret in (SECRET, OTHER):
        assert Verifier(secret).verify(body, headers) == json.loads(body)
    for spoilt in (body + b" ", body.replace(b"1", b"2")):
        with pytest.raises(WebhookVerificationError):
            Verifier(SECRET).verify(spoilt, headers)


@pytest.mark.parametrize("secret", ["abc", "whsec_", "whsec_AAAA", "whsec_?", SECRET + " x"])
def test_what_is_no_secret(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="whsec_"):
        secrets_of(Settings(webhook_secret=secret, _env_file=None))


def test_a_first_start_writes_a_secret(tmp_path: Path) -> None:
    made = LocalWorker(tmp_path / "data", fresh_sqlite(tmp_path))
    path = tmp_path / "data" / "webhook-secret"
    assert (len(secrets_of(made.settings)[0]), path.stat().st_mode & 0o777) == (32, 0o600)
    made.close()


# What it is no part of


def test_a_plan_knows_nothing_of_it() -> None:
    asked = {**REQUEST, "model": "maker", "samples_per_class": 2}
    told = {**asked, "webhook": {"url": "https://example.org/"}}
    assert planned(told, spec()).to_json() == planned(asked, spec()).to_json()
    assert fingerprint_of(JobRequest.model_validate(asked)) != fingerprint_of(
        JobRequest.model_validate(told)
    )


# Delivery


def test_a_job_that_has_ended_is_told_of_once(worker: LocalWorker, receiver: Receiver) -> None:
    job = ended(worker, receiver)
    assert queued(worker) == [("ENQUEUED", 0)]
    for _ in range(2):  # a second run of an attempt that is noted does nothing
        deliver(worker.context, Job, job.number, 1)
    [got] = receiver.seen
    told = Verifier(SECRET).verify(got.body, got.headers)
    assert (told["type"], told["data"]["id"]) == ("job.succeeded", job.id)
    assert told["data"]["links"]["report"] == f"/v1/jobs/{job.id}/report"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    found = noted(worker, job)
    assert (found["attempts"], found["last_status"], found["given_up"]) == (1, 200, False)
    assert found["delivered_at"]
    assert len(queued(worker)) == 1


def test_a_receiver_that_fails_is_asked_again_later(
    worker: LocalWorker, receiver: Receiver
) -> None:
    job = ended(worker, receiver)
    receiver.statuses = [500]
    deliver(worker.context, Job, job.number, 1)
    assert noted(worker, job)["delivered_at"] is None
    second = queued(worker)[1]
    assert second[0] == "DELAYED"
    assert second[1] == pytest.approx(5_000, abs=1_000)
    deliver(worker.context, Job, job.number, 2)
    found = noted(worker, job)
    assert (found["attempts"], found["last_status"]) == (2, 200)
    assert found["delivered_at"]
    assert len({got.headers["webhook-id"] for got in receiver.seen}) == 1
    assert receiver.seen[0].body == receiver.seen[1].body


@pytest.mark.parametrize(("statuses", "attempts"), [([500] * 3, 3), ([410], 1)])
def test_it_is_given_up_in_the_end(
    worker: LocalWorker, receiver: Receiver, statuses: list[int], attempts: int
) -> None:
    job = ended(worker, receiver)
    receiver.statuses = list(statuses)
    for number in range(1, 4):
        deliver(worker.context, Job, job.number, number)
        if noted(worker, job)["given_up"]:
            break
    found = noted(worker, job)
    assert (found["attempts"], found["last_status"]) == (attempts, statuses[-1])
    assert found["given_up"] is True
    assert len(queued(worker)) == attempts


def test_every_end_is_told_of_and_rolls_back_with_it(
    worker: LocalWorker, receiver: Receiver
) -> None:
    body = {"model": MODEL, "samples_per_class": {"bag": 3}, "webhook": {"url": receiver.url}}
    failed, cancelled = (worker.ask(JobRequest.model_validate(body)) for _ in range(2))
    problem = JobError("It broke.").problem()
    with worker.context.transaction() as session:
        lifecycle.fail(session, worker.context.dispatcher, failed.number, problem)
        session.rollback()
    assert queued(worker) == []
    with worker.context.transaction() as session:
        lifecycle.fail(session, worker.context.dispatcher, failed.number, problem)
        row = session.get_one(Job, cancelled.number)
        lifecycle.cancel(session, worker.context.dispatcher, row)
        lifecycle.cancel(session, worker.context.dispatcher, row)
    assert len(queued(worker)) == 2
    for job in (failed, cancelled):
        deliver(worker.context, Job, job.number, 1)
    told = [json.loads(got.body) for got in receiver.seen]
    assert [one["type"] for one in told] == ["job.failed", "job.cancelled"]
    assert told[0]["data"]["problem"]["detail"] == "It broke."


def test_every_end_of_a_run_is_told_of_too(worker: LocalWorker, receiver: Receiver) -> None:
    dispatcher = worker.context.dispatcher
    gate = {"passed": False}
    report = {"evaluation": {"verdict": "It helps."}, "gate": gate}
    missed = GateFailedError("The gate is not passed.", gate=gate).problem()
    with worker.context.transaction() as session:
        trained, measured, cancelled, untold = (
            lifecycle_of_runs.submit(
                session, dispatcher, tenant_id=DEFAULT_TENANT, kind=kind, request={}, needs=[],
                fingerprint="", idempotency_key=None, webhook=url,
            )
            for kind, url in (
                (RunKind.TRAINING, receiver.url), (RunKind.EVALUATION, receiver.url),
                (RunKind.TRAINING, receiver.url), (RunKind.TRAINING, None),
            )
        )  # fmt: skip
        begun = [lifecycle_of_runs.begin(session, dispatcher, run.number, "w", 3)
                 for run in (trained, measured)]  # fmt: skip
        assert begun[0] is not None
        assert begun[1] is not None
        lifecycle_of_runs.succeed(session, dispatcher, begun[0], {"model": "mine@1.0.0"})
        lifecycle_of_runs.fail(session, dispatcher, begun[1], missed, report)
        for run in (cancelled, untold, cancelled):
            lifecycle_of_runs.cancel(session, dispatcher, run)
    assert queued(worker) == [("ENQUEUED", 0)] * 3
    receiver.statuses = [500]
    for run, attempt in ((trained, 1), (trained, 2), (measured, 1), (cancelled, 1), (untold, 1)):
        for _ in range(2):  # a second run of an attempt that is noted does nothing
            deliver(worker.context, Run, run.number, attempt)
    told = [Verifier(SECRET).verify(got.body, got.headers) for got in receiver.seen]
    assert [one["type"] for one in told] == [
        "training.succeeded", "training.succeeded", "evaluation.failed", "training.cancelled",
    ]  # fmt: skip
    assert told[0] == told[1]
    assert told[0]["data"] == {
        "id": trained.id, "state": "succeeded", "model": "mine@1.0.0",
        "links": {"self": f"/v1/trainings/{trained.id}", "model": "/v1/models/mine@1.0.0"},
    }  # fmt: skip
    assert told[2]["data"]["verdict"] == "It helps."
    assert told[2]["data"]["links"]["report"] == f"/v1/evaluations/{measured.id}/report.html"
    assert told[2]["data"]["problem"]["detail"] == "The gate is not passed."
    assert told[3]["data"]["links"] == {"self": f"/v1/trainings/{cancelled.id}"}
    with worker.context.transaction() as session:
        found = session.get_one(Run, trained.number).webhook
    assert found is not None
    assert (found["attempts"], found["last_status"], found["given_up"]) == (2, 200, False)


def test_a_person_sees_how_a_webhook_stands() -> None:
    url = "https://example.org/"
    assert webhook_facts(None) == []
    for view, said in (
        ({"attempts": 2, "last_status": 500}, "not delivered, attempts: 2, the last one: 500"),
        ({"attempts": 2, "delivered_at": "now"}, "delivered now, attempts: 2"),
        ({"attempts": 3, "last_error": "x", "given_up": True},
         "given up after attempts: 3, the last one: x"),
    ):  # fmt: skip
        assert webhook_facts({"url": url} | view) == [("webhook", f"{url}, {said}")]


def test_waits_grow_and_end() -> None:
    assert [pause_seconds(5, number) for number in (1, 2, 3, 4)] == [5, 15, 45, 135]
    assert pause_seconds(5, 60) == 6 * 3600
