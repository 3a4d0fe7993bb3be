"""`/v1/trainings` and `/v1/evaluations` without a worker: what is taken, and what is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from app import catalogue
from app.db.session import transaction
from app.db.tables import DEFAULT_TENANT
from app.storage import LocalStorage
from models.zoo.catalogue import shipped_model
from tests.service import Service

CLASSES = ["nought", "one", "two"]


def images(count: int, side: int = 8) -> bytes:
    """An npz of grey noise in three classes."""
    random = np.random.default_rng(count)
    file = io.BytesIO()
    pixels = random.integers(0, 256, (count, side, side), np.uint8)
    np.savez(file, images=pixels, labels=np.arange(count) % 3, classes=np.array(CLASSES))
    return file.getvalue()


def upload(service: Service, name: str, content: bytes) -> str:
    answer = service.client.post(
        "/v1/datasets", files={"file": ("images.npz", content)}, data={"name": name}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    return upload(service, "noise", images(60))


@pytest.fixture
def body(dataset: str) -> dict[str, Any]:
    return {"architecture": "cgan", "dataset": dataset, "name": "noises", "epochs": 1}


@pytest.fixture
def question(dataset: str) -> dict[str, Any]:
    return {"subject": {"job": "job_0"}, "against": dataset}


def test_a_training_is_queued_followed_listed_and_cancelled(
    service: Service, body: dict[str, Any]
) -> None:
    answer = service.client.post(
        "/v1/trainings", json=body | {"seed": 7, "recipe": {"loss": "bce"}}
    )
    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert answer.headers["Location"] == view["links"]["self"] == f"/v1/trainings/{view['id']}"
    assert (view["state"], view["progress"]["stage"], view["model"]) == ("queued", "waiting", None)
    assert (view["config"]["seed"], view["config"]["epochs"]) == (7, 1)
    assert view["config"]["preprocessing"]["height"] == 8
    found = service.client.get(view["links"]["self"])
    assert found.json() == view
    seen = {"If-None-Match": found.headers["ETag"]}
    assert service.client.get(view["links"]["self"], headers=seen).status_code == 304
    assert service.client.get("/v1/trainings").json()["trainings"][0] == view
    assert service.client.get(view["links"]["curves"]).json() == {"curves": {}}
    grid = service.client.get(view["links"]["grid"])
    assert (grid.status_code, grid.json()["type"]) == (404, "/problems/not-found")
    for _ in range(2):
        assert service.client.post(view["links"]["cancel"]).json()["state"] == "cancelled"


def test_pages_are_the_newest_first(service: Service, body: dict[str, Any]) -> None:
    ids = [service.client.post("/v1/trainings", json=body).json()["id"] for _ in range(3)]
    first = service.client.get("/v1/trainings", params={"limit": 2}).json()
    rest = service.client.get("/v1/trainings", params={"limit": 2, "after": first["next"]}).json()
    listed = [run["id"] for run in first["trainings"] + rest["trainings"]]
    assert listed[:3] == ids[::-1]
    assert service.client.get("/v1/trainings?after=x").status_code == 400


def test_the_same_key_is_the_same_training(service: Service, body: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "twice"}
    first = service.client.post("/v1/trainings", json=body, headers=key)
    second = service.client.post("/v1/trainings", json=body, headers=key)
    assert second.json()["id"] == first.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    other = service.client.post("/v1/trainings", json=body | {"seed": 1}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert other.json()["run_id"] == first.json()["id"]


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"dataset": "ds_unknown"}, 422, "unknown-dataset", "ds_unknown"),
    ({"architecture": "diffusion"}, 422, "unknown-option", "cgan"),
    ({"recipe": {"los": "bce"}}, 422, "unknown-option", "generator_rate"),
    ({"recipe": {"pixel_variance": 0.1}}, 422, "unknown-option", "discriminator_norm"),
    ({"recipe": {"batch_size": 3}}, 422, "validation", "batch_size"),
    ({"options": {"depth": 3}}, 422, "validation", "depth"),
    ({"steps": 1, "epochs": 1}, 422, "validation", "steps"),
    ({"minutes": -1}, 422, "validation", "minutes"),
    ({"seed": -1}, 422, "validation", "seed"),
    ({"name": "No Name"}, 422, "validation", "name"),
    ({"name": "fashion-cgan"}, 409, "conflict", "another name"),
    ({"name": "taken"}, 409, "conflict", "28 x 28"),
    ({"split": "test"}, 422, "validation", "train"),
    ({"validation": 57}, 422, "validation", "too few"),
    ({"size": {"height": 0}}, 422, "validation", "height"),
    ({"threads": 64}, 422, "validation", "threads"),
    ({"version": "2.0.0"}, 422, "validation", "version"),
]


@pytest.mark.parametrize(("change", "status", "slug", "said"), REFUSED, ids=str)
def test_a_training_that_can_not_be_is_refused_and_leaves_nothing(
    service: Service,
    body: dict[str, Any],
    taken: str,
    change: dict[str, Any],
    status: int,
    slug: str,
    said: str,
) -> None:
    before = service.traces()
    answer = service.client.post("/v1/trainings", json=body | change)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}")
    assert said in answer.json()["detail"] or said in str(answer.json().get("options"))
    assert service.traces() == before


@pytest.fixture(scope="module")
def taken(service: Service) -> str:
    """The name of a model of other images."""
    known = shipped_model("fashion-cgan")
    spec = known.spec.model_copy(update={"name": "taken"})
    with transaction(service.database) as session:
        storage = LocalStorage(service.settings.objects_dir)
        catalogue.register(session, storage, DEFAULT_TENANT, spec, known.weights_path, None)
    return spec.name


def test_images_of_several_sizes_need_one(service: Service, body: dict[str, Any]) -> None:
    import zipfile

    from PIL import Image

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(12):
            picture = io.BytesIO()
            side = 8 + number % 3
            pixels = np.random.default_rng(number).integers(0, 256, (side, side), np.uint8)
            Image.fromarray(pixels).save(picture, "PNG")
            archive.writestr(f"{CLASSES[number % 2]}/{number}.png", picture.getvalue())
    varied = upload(service, "varied", packed.getvalue())
    answer = service.client.post("/v1/trainings", json=body | {"dataset": varied})
    assert (answer.status_code, "state the one" in answer.json()["detail"]) == (422, True)
    stated = body | {"dataset": varied, "size": {"height": 8, "width": 8}, "validation": 0}
    answer = service.client.post("/v1/trainings", json=stated)
    assert answer.status_code == 202, answer.text
    assert answer.json()["config"]["preprocessing"]["channels"] == 1


def test_what_is_needed_stays_until_the_training_has_ended(
    service: Service, body: dict[str, Any]
) -> None:
    mine = upload(service, "needed", images(30))
    view = service.client.post("/v1/trainings", json=body | {"dataset": "needed"}).json()
    assert view["dataset"] == mine
    refused = service.client.delete(f"/v1/datasets/{mine}")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/dataset-in-use")
    assert refused.json()["runs"] == [view["id"]]
    service.client.post(view["links"]["cancel"])
    assert service.client.delete(f"/v1/datasets/{mine}").status_code == 204


def test_another_tenant_sees_nothing(service: Service, body: dict[str, Any]) -> None:
    view = service.client.post("/v1/trainings", json=body).json()
    other = service.bearer(service.add_tenant("other"))
    url = view["links"]["self"]
    for path in (url, f"{url}/grid.png", f"{url}/curves"):
        assert service.client.get(path, headers=other).status_code == 404
    assert service.client.post(f"{url}/cancel", headers=other).status_code == 404
    assert service.client.get("/v1/trainings", headers=other).json()["trainings"] == []
    assert service.client.post("/v1/trainings", json=body, headers=other).status_code == 422


@pytest.mark.parametrize("kind", ["trainings", "evaluations"])
def test_whom_a_run_tells_is_shown_and_never_private(
    service: Service, body: dict[str, Any], dataset: str, kind: str
) -> None:
    if kind == "evaluations":
        other = upload(service, "told", images(33))
        body = {"subject": {"dataset": other}, "against": dataset}
    before = service.traces()
    for url in ("https://10.0.0.1/", "http://example.org/", "nonsense"):
        refused = service.client.post(f"/v1/{kind}", json=body | {"webhook": {"url": url}})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/validation")
        assert "webhook" in refused.json()["detail"]
    assert service.traces() == before
    url = "https://example.org/hook"
    view = service.client.post(f"/v1/{kind}", json=body | {"webhook": {"url": url}}).json()
    assert view["webhook"] == {
        "url": url, "attempts": 0, "last_status": None, "last_error": None, "delivered_at": None,
        "given_up": False,
    }  # fmt: skip
    assert "webhook" not in view.get("config", {})
    assert service.client.post(f"/v1/{kind}", json=body).json()["webhook"] is None


# Evaluations


def test_an_evaluation_of_a_model_is_planned_like_a_job(service: Service) -> None:
    side = 28
    random = np.random.default_rng(0)
    file = io.BytesIO()
    names = np.array(["bag", "coat"])
    pixels = random.integers(0, 256, (10, side, side), np.uint8)
    np.savez(file, images=pixels, labels=np.array([0] * 7 + [1] * 3), classes=names)
    against = upload(service, "clothes", file.getvalue())
    body = {"subject": {"model": "fashion-cgan", "seed": 5}, "against": "clothes"}
    answer = service.client.post("/v1/evaluations", json=body | {"options": {"lift": False}})
    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert (view["state"], view["against"], view["verdict"]) == ("queued", against, None)
    assert (view["subject"]["model"], view["subject"]["seed"]) == ("fashion-cgan@1.1.0", 5)
    assert view["subject"]["samples_per_class"] == {"coat": 3, "bag": 7}
    assert view["options"]["lift"] is False
    report = service.client.get(view["links"]["report_html"])
    assert (report.status_code, report.json()["type"]) == (409, "/problems/report-not-ready")
    assert service.client.get(view["links"]["self"]).json()["result"] is None
    assert service.client.post(view["links"]["cancel"]).json()["state"] == "cancelled"


ASKED_WRONGLY: list[tuple[dict[str, Any], str, str]] = [
    ({}, "validation", "no job"),
    ({"subject": {}}, "validation", "one of"),
    ({"subject": {"model": "a", "job": "b"}}, "validation", "one of"),
    ({"subject": {"job": "job_0", "seed": 1}}, "validation", "of a model"),
    ({"subject": {"model": "nobody"}}, "unknown-model", "nobody"),
    ({"subject": {"model": "fashion-cgan"}}, "validation", "no class in common"),
    ({"subject": {"dataset": "noise"}}, "validation", "itself"),
    ({"subject": {"dataset": "ds_0"}}, "unknown-dataset", "ds_0"),
    ({"against": "ds_0"}, "unknown-dataset", "ds_0"),
    ({"gate": {"beauty": 1}}, "unknown-figure", "beauty"),
    ({"gate": {"kid": ">=0.1"}}, "validation", "lower"),
    ({"options": {"backbone": "resnet18"}}, "validation", "backbone"),
    ({"options": {"weights": "/etc/passwd"}}, "validation", "weights"),
]


@pytest.mark.parametrize(("change", "slug", "said"), ASKED_WRONGLY, ids=str)
def test_an_evaluation_that_can_not_be_is_refused_and_leaves_nothing(
    service: Service, question: dict[str, Any], change: dict[str, Any], slug: str, said: str
) -> None:
    before = service.traces()
    answer = service.client.post("/v1/evaluations", json=question | change)
    assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{slug}")
    assert said in answer.json()["detail"]
    assert service.traces() == before


def test_ids_of_the_other_kind_are_unknown(service: Service, body: dict[str, Any]) -> None:
    view = service.client.post("/v1/trainings", json=body).json()
    assert service.client.get(f"/v1/evaluations/{view['id']}").status_code == 404
    assert service.client.get("/v1/trainings/tr_%00").status_code == 404
