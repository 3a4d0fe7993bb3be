"""Webhooks at the door: what is refused leaves nothing behind, what is taken is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import REQUEST
from tests.service import Service


@pytest.mark.parametrize(
    "webhook",
    [
        {"url": "http://example.org/"}, {"url": "https://127.0.0.1/"}, {"url": "https://[::1]/"},
        {"url": "https://[::ffff:10.0.0.1]/"}, {"url": "nonsense"}, {"url": 5}, {}, "https://a.org",
        {"url": "https://example.org/", "secret": "mine"},
    ],
)  # fmt: skip
def test_a_bad_webhook_is_refused(service: Service, webhook: Any) -> None:
    before = service.client.get("/v1/jobs").json()
    answer = service.client.post("/v1/jobs", json=REQUEST | {"webhook": webhook})
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/validation"
    assert service.client.get("/v1/jobs").json() == before


def test_a_job_shows_whom_it_will_tell(service: Service) -> None:
    told = {"webhook": {"url": "https://example.org/hook?a=b"}}
    job = service.client.post("/v1/jobs", json=REQUEST | told).json()
    assert job["webhook"] == {
        "url": "https://example.org/hook?a=b", "attempts": 0, "last_status": None,
        "last_error": None, "delivered_at": None, "given_up": False,
    }  # fmt: skip
    assert service.client.post("/v1/jobs", json=REQUEST).json()["webhook"] is None
    assert service.client.post("/v1/jobs/estimate", json=REQUEST | told).status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        {"webhook": {"url": "https://example.org/"}}, {"gate": {"label_agreement": 0.9}},
        {"report": {"against": "shop"}},
    ],
)  # fmt: skip
def test_samples_at_once_have_no_end_to_tell_of(service: Service, more: dict[str, Any]) -> None:
    answer = service.client.post("/v1/samples", json=REQUEST | more)
    assert answer.status_code == 422
    assert "Only a job" in answer.json()["detail"]
