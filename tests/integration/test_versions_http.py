"""Versions of a model over HTTP: what a name means, deletion, and the way to another server."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
import torch
from numpy.typing import NDArray

from app import catalogue, deletion
from app.api import jobs
from app.db.session import transaction
from app.db.tables import DEFAULT_TENANT, Job
from app.errors import (
    ModelCorruptError,
    ModelInUseError,
    NotFoundError,
    SynthloomError,
    UnknownModelError,
)
from app.jobs import lifecycle
from app.jobs.dispatch import Dispatcher
from app.settings import Settings
from app.storage import LocalStorage
from app.worker import build_engine
from models.spec import ModelSpec
from models.zoo.catalogue import shipped_model
from tests import strangers
from tests.builders import planned
from tests.harness import Server, run_job, serving
from tests.service import Service, opened

ZOO = shipped_model("fashion-cvae")
BODY: dict[str, Any] = {"samples_per_class": {"bag": 3}, "seed": 7}


def add(service: Service, name: str, *versions: str) -> list[ModelSpec]:
    """Register copies of a shipped model, as fast as nobody tries them."""
    specs = [ZOO.spec.model_copy(update={"name": name, "version": v}) for v in versions]
    storage = LocalStorage(service.settings.objects_dir)
    with transaction(service.database) as session:
        for spec in specs:
            catalogue.register(
                session, storage, DEFAULT_TENANT, spec, ZOO.weights_path, ZOO.preview_path
            )
    return specs


def estimated(service: Service, ref: str) -> str:
    answer = service.client.post("/v1/jobs/estimate", json=BODY | {"model": ref})
    assert answer.status_code == 200, answer.text
    [model] = answer.json()["models"]
    return str(model)


def type_of(answer: Any) -> str:
    return str(answer.json()["type"]).removeprefix("/problems/")


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


# Deletion and submission at once


@pytest.fixture
def shelf(database_url: str, tmp_path: Path) -> Iterator[Service]:
    """A service whose parts are called by threads of the test."""
    settings = Settings(data_dir=tmp_path / "data", database_url=database_url, _env_file=None)
    with opened(settings) as service:
        yield service


def submit(shelf: Service, spec: ModelSpec, found: Callable[[], object] = bool) -> None:
    """As the API does it. found: called between finding the model and writing the job."""
    dispatcher = Dispatcher(shelf.database)
    with transaction(shelf.database) as session:
        catalogue.find(session, DEFAULT_TENANT, spec.ref)
        found()
        lifecycle.submit(
            session,
            dispatcher,
            tenant_id=DEFAULT_TENANT,
            plan=planned(BODY | {"model": spec.name}, spec),
            formats=["imagefolder"],
            window=4,
            fingerprint="",
            idempotency_key=None,
        )
        deletion.hold(session, DEFAULT_TENANT, [spec.sha256])


def delete(shelf: Service, spec: ModelSpec) -> None:
    with transaction(shelf.database) as session:
        deletion.delete(session, DEFAULT_TENANT, spec.ref)


def error_of(call: Callable[[], None], start: threading.Barrier) -> type[SynthloomError] | None:
    start.wait(30)
    try:
        call()
    except SynthloomError as error:
        return type(error)
    return None


def test_a_model_that_is_deleted_after_it_was_found_gets_no_job(shelf: Service) -> None:
    [spec] = add(shelf, "raced", "1")
    with ThreadPoolExecutor(1) as other:

        def deleted() -> None:
            other.submit(delete, shelf, spec).result(30)

        with pytest.raises(UnknownModelError, match="deleted just now"):
            submit(shelf, spec, deleted)
    assert shelf.client.get("/v1/jobs").json()["jobs"] == []


def test_a_request_whose_model_goes_away_in_the_middle_gets_no_job(
    shelf: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    [spec] = add(shelf, "raced", "1")
    looked_up = jobs._check_room

    def deleted(*arguments: Any) -> None:
        with ThreadPoolExecutor(1) as other:
            other.submit(delete, shelf, spec).result(30)
        looked_up(*arguments)

    monkeypatch.setattr(jobs, "_check_room", deleted)  # runs between plan and submission
    answer = shelf.client.post("/v1/jobs", json=BODY | {"model": "raced"})
    assert (answer.status_code, type_of(answer)) == (422, "unknown-model")
    assert shelf.client.get("/v1/jobs").json()["jobs"] == []


def test_the_same_model_registered_at_once_is_one_row_and_one_set_of_files(
    shelf: Service,
) -> None:
    [spec, *_] = add(shelf, "first", "1")
    spec = spec.model_copy(update={"name": "twice"})
    storage = LocalStorage(shelf.settings.objects_dir)
    start = threading.Barrier(4)

    def register() -> int:
        start.wait(30)
        with transaction(shelf.database) as session:
            return catalogue.register(
                session, storage, DEFAULT_TENANT, spec, ZOO.weights_path, ZOO.preview_path
            ).id

    with ThreadPoolExecutor(4) as pool:
        ids = {future.result(60) for future in [pool.submit(register) for _ in range(4)]}
    assert len(ids) == 1
    with transaction(shelf.database) as session:
        row = catalogue.find(session, DEFAULT_TENANT, "twice")
    kept = {row.weights_key, row.preview_key}
    assert set(storage.list(f"models/{DEFAULT_TENANT}/{spec.sha256}")) == kept


def test_a_worker_says_that_a_model_was_deleted(shelf: Service) -> None:
    storage = LocalStorage(shelf.settings.objects_dir)
    gone, damaged = add(shelf, "leaves", "1", "2")
    engine = build_engine(shelf.settings, shelf.database, storage)

    def draw(spec: ModelSpec) -> None:
        z = np.zeros((1, spec.latent_size), np.float32)
        engine.for_request("test").generate(spec.sha256, z, np.zeros(1, np.int64), 8)

    try:
        draw(ZOO.spec)
        delete(shelf, gone)
        with pytest.raises(UnknownModelError, match="was deleted"):
            draw(gone)
        with transaction(shelf.database) as session:
            key = catalogue.find(session, DEFAULT_TENANT, damaged.ref).weights_key
        storage.delete(key)
        with pytest.raises(ModelCorruptError):
            draw(damaged)
    finally:
        engine.close()


def test_no_job_lacks_its_model_whichever_comes_first(shelf: Service) -> None:
    """Twenty pairs of a submission and a deletion that are let go at the same moment."""
    specs = add(shelf, "pairs", *map(str, range(20)))
    outcomes = []
    with ThreadPoolExecutor(2) as pool:
        for spec in specs:
            start = threading.Barrier(2)
            pair = [
                pool.submit(error_of, partial(call, shelf, spec), start)
                for call in (submit, delete)
            ]
            outcomes.append(tuple(future.result(60) for future in pair))
    assert set(outcomes) <= {
        (None, ModelInUseError),
        (UnknownModelError, None),
        (NotFoundError, None),
    }
    left = {m["version"] for m in shelf.client.get("/v1/models").json()["models"]}
    needed = {job["models"][0]["version"] for job in shelf.client.get("/v1/jobs").json()["jobs"]}
    assert len(needed) == outcomes.count((None, ModelInUseError))
    assert needed <= left


# Export


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


def contents(exported: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(exported)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Iterable[tuple[str, bytes]], **options: Any) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        with zipfile.ZipFile(out, "w", **options) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return out.getvalue()


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
