"""A model as a file: exported, forged, and taken to another server."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.spec import ModelSpec
from tests import strangers
from tests.harness import Server, run_job, serving
from tests.registered import ZOO, add, contents, type_of, zipped
from tests.service import Service


@pytest.fixture(scope="module")
def exported(service: Service) -> bytes:
    """A model of the service without a worker, as one file."""
    add(service, "exported", "1")
    return bytes(service.client.get("/v1/models/exported@1/export").content)


def test_an_export_is_a_zip_of_plain_files(service: Service, exported: bytes) -> None:
    spec = ModelSpec.model_validate(service.client.get("/v1/models/exported").json()["spec"])
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        content = {name: archive.read(name) for name in archive.namelist()}
    assert set(content) == {"spec.json", "README.md", "preview.png", "weights.safetensors"}
    assert ModelSpec.model_validate_json(content["spec.json"]) == spec
    assert content["weights.safetensors"] == ZOO.weights_path.read_bytes()
    assert content["preview.png"] == ZOO.preview_path.read_bytes()
    assert spec.licence in content["README.md"].decode()
    assert spec.sha256 in content["README.md"].decode()


def test_an_export_is_a_download_that_leaves_nothing(service: Service, exported: bytes) -> None:
    before = service.traces()
    path = "/v1/models/exported/export"
    whole = service.client.get(path)
    assert whole.content == exported
    assert whole.headers["content-type"] == "application/zip"
    digest = base64.b64encode(hashlib.sha256(exported).digest()).decode()
    assert whole.headers["repr-digest"] == f"sha-256=:{digest}:"
    head = service.client.head(path)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(exported)))
    assert "exported-1.zip" in whole.headers["content-disposition"]
    part = service.client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, exported[10:20])
    beyond = service.client.get(path, headers={"Range": "bytes=999999999-"})
    assert (beyond.status_code, type_of(beyond)) == (416, "range-not-satisfiable")
    tag = {"If-None-Match": whole.headers["etag"]}
    assert service.client.get(path, headers=tag).status_code == 304
    assert service.client.get("/v1/models/fashion-gan/export", headers=tag).status_code == 200
    assert service.traces() == before


def test_an_export_is_registered_already_where_it_comes_from(
    service: Service, exported: bytes
) -> None:
    answer = service.client.post("/v1/models", files={"weights": ("x", exported)})
    assert answer.status_code == 200
    assert answer.json() == service.client.get("/v1/models/exported@1").json()


# Files that only look like an export

SPEC = "spec.json"
WEIGHTS = "weights.safetensors"


def with_spec(members: dict[str, bytes], **changes: Any) -> bytes:
    document = json.loads(members[SPEC]) | changes
    return zipped((members | {SPEC: json.dumps(document).encode()}).items())


def with_tensors(members: dict[str, bytes], content: bytes) -> bytes:
    weights = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return with_spec(members | {WEIGHTS: content}, weights=weights, name="hostile")


Forge = Callable[[dict[str, bytes]], bytes]
FORGED: dict[str, tuple[Forge, str]] = {
    "compressed": (
        lambda m: zipped(m.items(), compression=zipfile.ZIP_DEFLATED),
        "compressed-members",
    ),
    "a bomb": (
        lambda m: zipped(
            (m | {WEIGHTS: bytes(64 << 20)}).items(), compression=zipfile.ZIP_DEFLATED
        ),
        "compressed-members",
    ),
    "outside": (lambda m: zipped([*m.items(), ("../../x", b"x")]), "other-zip"),
    "absolute": (lambda m: zipped([*m.items(), ("/etc/x", b"x")]), "other-zip"),
    "a pickle": (lambda m: zipped([*m.items(), ("data.pkl", b"x")]), "other-zip"),
    "two specs": (lambda m: zipped([*m.items(), (SPEC, m[SPEC])]), "other-zip"),
    "two weights": (lambda m: zipped([*m.items(), (WEIGHTS, b"")]), "other-zip"),
    "no weights": (lambda m: zipped([(SPEC, m[SPEC])]), "damaged"),
    "weights of onnx": (lambda m: zipped([(SPEC, m[SPEC]), ("model.onnx", m[WEIGHTS])]), "damaged"),
    "other weights": (
        lambda m: zipped((m | {WEIGHTS: m[WEIGHTS][:-1] + b"!"}).items()),
        "damaged",
    ),
    "less weights": (lambda m: zipped((m | {WEIGHTS: m[WEIGHTS][:-1]}).items()), "damaged"),
    "cut off": (lambda m: zipped(m.items())[:-30], "damaged"),
    "a flipped bit": (
        lambda m: zipped(m.items()).replace(m[WEIGHTS], b"?" + m[WEIGHTS][1:]),
        "damaged",
    ),
    "a large spec": (lambda m: zipped((m | {SPEC: bytes(2 << 20)}).items()), "too-complex"),
    "no JSON": (lambda m: zipped((m | {SPEC: b"{"}).items()), ""),
    "a deep spec": (lambda m: zipped((m | {SPEC: b'{"options":' + b"[" * 99_999}).items()), ""),
    "a field more": (lambda m: with_spec(m, code="import os"), ""),
    "another format": (lambda m: with_spec(m, format=2), ""),
    "a path as name": (lambda m: with_spec(m, name="../x"), ""),
    "no tensors": (lambda m: with_tensors(m, b"no tensors"), ""),
    "a huge header": (lambda m: with_tensors(m, b"\xff" * 8 + b"{}"), ""),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_file_that_only_looks_like_an_export_is_refused(
    service: Service, exported: bytes, name: str
) -> None:
    forge, kind = FORGED[name]
    before = service.traces()
    forged = forge(contents(exported))
    answer = service.client.post("/v1/models", files={"weights": ("x.zip", forged)})
    assert answer.status_code == 422, answer.text
    problem = "unsupported-checkpoint" if kind else "model-spec-invalid"
    assert (type_of(answer), answer.json().get("kind", "")) == (problem, kind)
    assert answer.json()["detail"].isprintable()
    assert service.traces() == before


@pytest.mark.parametrize("field", [{"spec": "{}"}, {"answers": '{"output": "1"}'}])
def test_an_export_has_its_spec_in_it(
    service: Service, exported: bytes, field: dict[str, str]
) -> None:
    answer = service.client.post("/v1/models", files={"weights": ("x", exported)}, data=field)
    assert (answer.status_code, type_of(answer)) == (422, "validation")


# From one server to another


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another server, with a worker."""
    with serving(tmp_path_factory.mktemp("elsewhere"), engine_batch=32) as running:
        yield running


def imported(http: httpx.Client, kind: str) -> dict[str, Any]:
    name = f"travels-{kind}"
    document = strangers.spec_of_decoder(name=name)
    content = strangers.bare(strangers.state())
    if kind == "onnx":
        document = document | {"architecture": "onnx", "options": {}, "tensors": {}}
        content = strangers.onnx()
    answer = http.post(
        "/v1/models", files={"weights": ("x", content)}, data={"spec": json.dumps(document)}
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def drawn(http: httpx.Client, ref: str) -> NDArray[np.uint8]:
    body = {"model": ref, "samples_per_class": 4, "seed": 5}
    answer = http.post("/v1/samples", json=body, headers={"Accept": "application/x-npz"})
    assert answer.status_code == 200, answer.text
    images: NDArray[np.uint8] = np.load(io.BytesIO(answer.content))["images"]
    return images


@pytest.mark.parametrize("kind", ["declared", "onnx"])
def test_a_model_is_the_same_on_another_server(
    http: httpx.Client, elsewhere: Server, kind: str
) -> None:
    made = imported(http, kind)
    file = http.get(made["links"]["export"]).content
    assert json.loads(contents(file)["probe.json"]) == made["probe"]
    with elsewhere.client() as there:
        answer = there.post("/v1/models", files={"weights": ("x.zip", file)})
        assert answer.status_code == 201, answer.text
        taken = answer.json()
        assert (taken["sha256"], taken["spec"]) == (made["sha256"], made["spec"])
        assert taken["probe"]["findings"] == []
        assert np.array_equal(drawn(there, made["name"]), drawn(http, made["name"]))
        assert there.get(taken["links"]["preview"]).status_code == 200
        renamed = there.post(
            "/v1/models", files={"weights": ("x.zip", file)}, data={"name": f"renamed-{kind}"}
        )
        assert renamed.status_code == 201, renamed.text
        assert renamed.json()["sha256"] != made["sha256"]
        assert renamed.json()["name"] == f"renamed-{kind}"
        assert there.delete(f"/v1/models/renamed-{kind}").status_code == 204
        job = run_job(there, {"model": made["name"], "samples_per_class": 2})
        assert job["models"][0]["sha256"] == made["sha256"]
        assert there.delete(f"/v1/models/{made['name']}").status_code == 204
        assert there.get(job["links"]["manifest"]).json()["samples"][0]["model_sha256"]
        assert there.get(job["archives"][0]["url"]).status_code == 200
        gone = there.post("/v1/samples", json={"model": made["name"], "samples_per_class": 1})
        assert (gone.status_code, type_of(gone)) == (422, "unknown-model")


def test_an_inspection_of_an_export_draws_it(http: httpx.Client) -> None:
    file = http.get("/v1/models/fashion-cvae/export").content
    answer = http.post("/v1/models/inspect", files={"weights": ("x", file)}, data={"tries": "3"})
    found = answer.json()
    assert (found["format"], found["unknowns"], len(found["tries"])) == ("exported model", [], 1)
    assert found["tries"][0]["preview"]
    assert ModelSpec.model_validate(found["spec"]) == ZOO.spec


def test_what_an_export_says_of_its_quality_is_not_believed(http: httpx.Client) -> None:
    flat = {name: torch.zeros_like(tensor) for name, tensor in strangers.state().items()}
    asked = {
        "spec": json.dumps(strangers.spec_of_decoder(name="flat-travels")),
        "accept_degenerate": "true",
    }
    content = strangers.bare(flat)
    made = http.post("/v1/models", files={"weights": ("x", content)}, data=asked).json()
    assert made["warnings"]
    members = contents(http.get(made["links"]["export"]).content)
    probe = json.loads(members["probe.json"]) | {"findings": []}
    members["probe.json"] = json.dumps(probe).encode()
    assert http.delete("/v1/models/flat-travels").status_code == 204
    refused = http.post("/v1/models", files={"weights": ("x", zipped(members.items()))})
    assert (refused.status_code, type_of(refused)) == (422, "model-degenerate")
