"""What can be sampled, over HTTP."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from models.spec import ModelSpec
from models.zoo.catalogue import ShippedModel, shipped
from tests.service import Service

SHIPPED = shipped()


def test_every_shipped_model_is_listed(service: Service) -> None:
    listed = service.client.get("/v1/models").json()["models"]
    assert [(m["name"], m["sha256"]) for m in listed] == [
        (model.spec.name, model.spec.sha256) for model in SHIPPED
    ]


@pytest.mark.parametrize("spec", [model.spec for model in SHIPPED], ids=lambda spec: spec.name)
def test_a_model_says_what_its_spec_says(service: Service, spec: ModelSpec) -> None:
    by_name = service.client.get(f"/v1/models/{spec.name}").json()
    assert service.client.get(f"/v1/models/{spec.ref}").json() == by_name
    assert service.client.get(by_name["links"]["self"]).json() == by_name
    assert ModelSpec.model_validate(by_name["spec"]) == spec
    assert by_name["classes"] == list(spec.class_names)
    assert by_name["image"] == spec.image.model_dump()
    assert by_name["licence"] == spec.licence
    assert by_name["conditioning"] == spec.conditioning


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.spec.name)
def test_a_preview_is_an_image(service: Service, model: ShippedModel) -> None:
    spec = model.spec
    answer = service.client.get(f"/v1/models/{spec.name}/preview.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["etag"]
    with Image.open(io.BytesIO(answer.content), formats=("PNG",)) as sheet:
        sheet.load()
        assert sheet.height >= spec.image.height * len(spec.class_names)


def test_an_unknown_model_names_those_there_are(service: Service) -> None:
    answer = service.client.get("/v1/models/nothing")
    assert answer.status_code == 404
    assert SHIPPED[0].spec.name in answer.json()["detail"]


def test_an_estimate_before_anything_has_run(service: Service) -> None:
    body = {"model": "fashion-cgan", "samples_per_class": 10}
    estimate = service.client.post("/v1/jobs/estimate", json=body).json()
    assert estimate["samples"] == 100
    assert estimate["seconds"] is None
    assert estimate["seed"] is None
    assert "raw pixels" in estimate["basis"]
    assert estimate["archive_bytes"] > 100 * 28 * 28
