"""A worker that is killed while it tells of the end of a job: the next one tells again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.harness import end, serving, submit, wait_for
from tests.receiver import receiving


@pytest.mark.soak
def test_kill_9_of_the_worker_between_two_attempts_loses_nothing(tmp_path: Path) -> None:
    """The first request kills the worker before it is answered, the second is answered with 500."""
    settings = {
        "webhook_private_addresses": True,
        "webhook_backoff_seconds": 0.05,
        "heartbeat_seconds": 0.5,
    }
    with receiving() as receiver, serving(tmp_path, **settings) as server, server.client() as http:
        receiver.statuses = [500, 500]

        def kill() -> None:
            receiver.on_request = lambda: None
            for pid in server.children():
                end(pid, signal.SIGKILL)

        receiver.on_request = kill
        body = {"model": "fashion-cgan", "samples_per_class": {"bag": 2}}
        job = submit(http, body | {"webhook": {"url": receiver.url}})
        path = job["links"]["self"]
        view = wait_for(
            "the delivery",
            lambda: found if (found := http.get(path).json()["webhook"])["delivered_at"] else None,
            120,
        )
    assert (view["attempts"], view["last_status"]) == (2, 200)
    assert len(receiver.seen) == 3, "the attempt that was cut off, and two that were noted"
    assert len({got.headers["webhook-id"] for got in receiver.seen}) == 1
    secret = (tmp_path / "webhook-secret").read_text().strip()
    for got in receiver.seen:
        assert Webhook(secret).verify(got.body, got.headers)["data"]["state"] == "succeeded"
