"""Versions of a model over HTTP: what a name means, and deletion."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from app.db.tables import Job
from tests.registered import BODY, ZOO, add, type_of
from tests.service import Service


def estimated(service: Service, ref: str) -> str:
    answer = service.client.post("/v1/jobs/estimate", json=BODY | {"model": ref})
    assert answer.status_code == 200, answer.text
    [model] = answer.json()["models"]
    return str(model)


def test_versions_newest_first_and_which_is_the_default(service: Service) -> None:
    add(service, "listed", "1.0", "1.10", "1.9")
    found = service.client.get("/v1/models/listed/versions").json()
    assert (found["name"], found["default"], found["chosen"]) == ("listed", "1.10", False)
    versions = [(each["version"], each["default"]) for each in found["versions"]]
    assert versions == [("1.10", True), ("1.9", False), ("1.0", False)]
    listed = service.client.get("/v1/models").json()["models"]
    assert [m["default"] for m in listed if m["name"] == "listed"] == [False, False, True]


def test_a_chosen_version_is_what_the_name_means_everywhere(service: Service) -> None:
    first, second = add(service, "chosen", "1", "2")
    path = "/v1/models/chosen/default"
    assert estimated(service, "chosen") == "chosen@2"
    answer = service.client.put(path, json={"version": "1"})
    assert (answer.status_code, answer.json()["default"]) == (200, "1")
    add(service, "chosen", "3")
    assert service.client.get("/v1/models/chosen").json()["sha256"] == first.sha256
    assert service.client.get("/v1/models/chosen@2").json()["sha256"] == second.sha256
    assert estimated(service, "chosen") == "chosen@1"
    job = service.client.post("/v1/jobs", json=BODY | {"model": "chosen"}).json()
    assert job["models"][0]["version"] == "1"
    assert service.client.delete(path).json()["default"] == "3"
    assert estimated(service, "chosen") == "chosen@3"


@pytest.mark.parametrize(
    ("path", "body", "status", "problem"),
    [
        ("refused/default", {"version": "9"}, 422, "unknown-model"),
        ("refused/default", {"version": ""}, 422, "validation"),
        ("refused/default", {"version": 1}, 422, "validation"),
        ("refused/default", {"version": "a\x00"}, 422, "unknown-model"),
        ("refused/default", {}, 422, "validation"),
        ("refused@1/default", {"version": "1"}, 404, "not-found"),
        ("nothing/default", {"version": "1"}, 404, "not-found"),
    ],
)
def test_a_choice_that_is_none_changes_nothing(
    service: Service, path: str, body: dict[str, Any], status: int, problem: str
) -> None:
    if service.client.get("/v1/models/refused").status_code == 404:
        add(service, "refused", "1", "2")
    answer = service.client.put(f"/v1/models/{path}", json=body)
    assert (answer.status_code, type_of(answer)) == (status, problem)
    found = service.client.get("/v1/models/refused/versions").json()
    assert (found["default"], found["chosen"]) == ("2", False)


# Deletion


def test_a_deleted_version_leaves_nothing(service: Service) -> None:
    add(service, "kept", "1")
    before = service.traces()
    add(service, "leaves", "1")
    assert service.client.delete("/v1/models/leaves").status_code == 204
    assert service.traces() == before
    assert service.client.get("/v1/models/leaves").status_code == 404
    for path in ("/v1/jobs", "/v1/jobs/estimate", "/v1/samples"):
        answer = service.client.post(path, json=BODY | {"model": "leaves"})
        assert (answer.status_code, type_of(answer)) == (422, "unknown-model")
    assert service.client.delete("/v1/models/leaves").status_code == 404


def test_one_of_several_versions_is_deleted_by_its_name(service: Service) -> None:
    add(service, "several", "1", "2")
    refused = service.client.delete("/v1/models/several")
    assert (refused.status_code, type_of(refused)) == (422, "validation")
    assert "several@2, several@1" in refused.json()["detail"]
    assert service.client.delete("/v1/models/several@2").status_code == 204
    assert service.client.get("/v1/models/several").json()["version"] == "1"


def test_a_shipped_model_is_not_deleted(service: Service) -> None:
    answer = service.client.delete(f"/v1/models/{ZOO.spec.ref}")
    assert (answer.status_code, type_of(answer)) == (409, "conflict")
    assert "registered again" in answer.json()["detail"]


def test_a_model_of_another_tenant_is_as_if_absent(service: Service) -> None:
    add(service, "private", "1", "2")
    bearer = service.bearer(service.add_tenant("neighbour"))
    before = service.traces()
    for method, path in (
        ("DELETE", "private@1"),
        ("GET", "private/versions"),
        ("DELETE", "private/default"),
        ("GET", "private/export"),
    ):
        answer = service.client.request(method, f"/v1/models/{path}", headers=bearer)
        assert answer.status_code == 404
    assert service.traces() == before


@pytest.mark.parametrize("state", ["queued", "running", "finalizing"])
def test_a_model_is_not_deleted_while_a_job_needs_it(service: Service, state: str) -> None:
    name = f"needed-{state}"
    add(service, name, "1", "2")
    job = service.client.post("/v1/jobs", json=BODY | {"model": name}).json()
    change = sa.update(Job).where(Job.id == job["id"])
    with service.database.begin() as connection:
        connection.execute(change.values(state=state, samples_done=Job.samples))
    before = service.traces()
    refused = service.client.delete(f"/v1/models/{name}@2")
    assert (refused.status_code, type_of(refused)) == (409, "model-in-use")
    assert refused.json()["jobs"] == [job["id"]]
    assert job["id"] in refused.json()["detail"]
    assert service.traces() == before
    assert service.client.delete(f"/v1/models/{name}@1").status_code == 204
    assert service.client.post(f"{job['links']['self']}/cancel").status_code == 200
    assert service.client.delete(f"/v1/models/{name}@2").status_code == 204
    assert service.client.get(job["links"]["self"]).json()["models"][0]["version"] == "2"
