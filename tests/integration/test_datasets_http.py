"""Real datasets over HTTP: what is accepted is there and can be read again, what is refused leaves
nothing behind."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from app.datasets import real
from app.db.session import transaction
from app.db.tables import Dataset
from app.errors import DatasetCorruptError, DatasetInUseError, UnknownDatasetError
from app.storage import LocalStorage
from models.corpus.read import read_splits
from tests import made_corpora as made
from tests.service import Service

ALL = ("train", "validation", "test")
FILES = {
    "class-folders": made.zipped(made.class_folders(made.splits(3, ALL))),
    "imagefolder": made.zipped(made.imagefolder(made.splits(1, ALL, seed=1), "parquet")),
    "npz": made.npz(made.splits(1, ALL, seed=2)),
    "parquet": made.hugging_face_parquet(made.splits(4, seed=3)["train"]),
    "idx": made.zipped(made.idx_files(made.splits(1, ALL, seed=4), packed=True)),
    "webdataset": made.zipped(
        {f"{s}-000000.tar": made.webdataset(r) for s, r in made.splits(3, ALL, seed=5).items()}
    ),
}


def upload(service: Service, content: bytes, **fields: str) -> httpx.Response:
    answer: httpx.Response = service.client.post(
        "/v1/datasets", files={"file": ("data", content)}, data=fields
    )
    return answer


def storage(service: Service) -> LocalStorage:
    return LocalStorage(service.settings.objects_dir)


@pytest.mark.parametrize("kind", FILES)
def test_a_dataset_of_each_format(service: Service, kind: str, tmp_path: Path) -> None:
    said = {"licence": "CC BY 4.0", "attribution": "Ünï 類,\nsecond line"}
    answer = upload(service, FILES[kind], name=f"data-{kind}", **said)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert answer.headers["location"] == found["links"]["self"] == f"/v1/datasets/{found['id']}"
    for ref in (found["id"], found["name"]):
        assert service.client.get(f"/v1/datasets/{ref}").json() == found
    assert found in service.client.get("/v1/datasets").json()["datasets"]
    assert found["kind"] == kind
    assert (found["licence"], found["attribution"]) == tuple(said.values())
    assert sorted(found["classes"]) == sorted(made.CLASSES)
    assert all(counts == dict.fromkeys(found["classes"], 5) for counts in found["counts"].values())
    assert found["samples"] == 15 * len(found["counts"])
    assert found["file_sha256"] == hashlib.sha256(FILES[kind]).hexdigest()
    assert found["image"]["smallest_height"] == found["image"]["largest_height"] == 6
    check_what_a_worker_reads(service, found["id"], FILES[kind], tmp_path)
    preview = service.client.get(found["links"]["preview"])
    with Image.open(io.BytesIO(preview.content)) as sheet:
        sheet.load()
        assert sheet.format == "PNG"
    assert service.client.delete(found["links"]["self"]).status_code == 204


def check_what_a_worker_reads(service: Service, ref: str, content: bytes, folder: Path) -> None:
    (folder / "file").write_bytes(content)
    wanted = read_splits(folder / "file")
    with transaction(service.database) as session:
        row = real.find(session, "default", ref)
    found = real.splits_of(storage(service), row)
    assert {s: c.sha256 for s, c in found.items()} == {s: c.sha256 for s, c in wanted.items()}
    train = real.corpus_of(storage(service), row)
    assert train.sha256 == wanted["train"].sha256


def test_the_same_content_again_is_the_same_dataset(service: Service) -> None:
    splits = {s: sorted(rows, key=lambda r: r[1]) for s, rows in made.splits(1, seed=9).items()}
    first = upload(service, made.zipped(made.class_folders(splits)), name="first")
    assert first.status_code == 201
    before = service.traces()
    again = upload(service, made.npz(splits), name="again", licence="another")
    assert (again.status_code, again.json()) == (200, first.json())
    other = upload(service, made.npz(made.splits(1, seed=10)), name="first")
    assert other.status_code == 409
    assert first.json()["id"] in other.json()["detail"]
    assert service.traces() == before
    service.client.delete(first.json()["links"]["self"])


def test_a_deleted_dataset_leaves_nothing(service: Service) -> None:
    before = service.traces()
    found = upload(service, FILES["npz"], name="gone").json()
    assert service.client.delete(f"/v1/datasets/{found['name']}").status_code == 204
    assert service.traces() == before
    missing = service.client.get(found["links"]["self"])
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")
    assert service.client.delete(found["links"]["self"]).status_code == 404


def test_what_is_in_use_is_kept(service: Service) -> None:
    found = upload(service, FILES["npz"], name="used").json()
    before = service.traces()
    with transaction(service.database) as session:
        real.hold(session, "default", found["id"])
    with (
        pytest.raises(DatasetInUseError, match="run_1") as caught,
        transaction(service.database) as session,
    ):
        real.delete(session, "default", "used", lambda _, dataset: [f"run_1 of {dataset.id}"])
    assert caught.value.status == 409
    assert service.traces() == before
    service.client.delete(found["links"]["self"])
    with (
        pytest.raises(UnknownDatasetError),
        transaction(service.database) as session,
    ):
        real.hold(session, "default", found["id"])


def test_a_stored_file_that_was_changed_is_not_read(service: Service) -> None:
    found = upload(service, FILES["npz"], name="changed").json()
    with transaction(service.database) as session:
        row = real.find(session, "default", found["id"])
    path = storage(service).path(row.file_key)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DatasetCorruptError):
        real.corpus_of(storage(service), row)
    service.client.delete(found["links"]["self"])


def test_datasets_belong_to_their_tenant(service: Service) -> None:
    found = upload(service, FILES["npz"], name="mine").json()
    key = service.bearer(service.add_tenant(f"other-{service.dialect}"))
    for method, path in (("GET", ""), ("GET", "/preview.png"), ("DELETE", "")):
        answer = service.client.request(method, f"{found['links']['self']}{path}", headers=key)
        assert answer.status_code == 404
    assert service.client.get("/v1/datasets", headers=key).json() == {"datasets": []}
    theirs = service.client.post(
        "/v1/datasets", files={"file": ("x", FILES["npz"])}, data={"name": "mine"}, headers=key
    )
    assert theirs.status_code == 201
    assert theirs.json()["sha256"] == found["sha256"]
    service.client.delete(found["links"]["self"])
    assert service.client.get(theirs.json()["links"]["self"], headers=key).status_code == 200


GOOD = FILES["npz"]
REFUSED: dict[str, tuple[bytes, dict[str, str], str, str]] = {
    "empty": (b"", {"name": "x"}, "unsupported-dataset", "unrecognised"),
    "html": (b"<!doctype html>", {"name": "x"}, "unsupported-dataset", "unrecognised"),
    "no name": (GOOD, {}, "validation", ""),
    "name of an id": (GOOD, {"name": "ds_1"}, "validation", ""),
    "name of a path": (GOOD, {"name": "../x"}, "validation", ""),
    "long licence": (GOOD, {"name": "x", "licence": "x" * 201}, "validation", ""),
    "NUL": (GOOD, {"name": "x", "attribution": "a\x00b"}, "validation", ""),
    "climbs": (
        made.zipped({"../a/1.png": made.png(np.zeros((2, 2, 1), np.uint8))}),
        {"name": "x"}, "unsupported-dataset", "unsafe-member",
    ),
    "broken image": (
        made.zipped({"a/1.png": made.png(np.zeros((9, 9, 3), np.uint8))[:-20]}),
        {"name": "x"}, "unsupported-dataset", "damaged-image",
    ),
    "broken parquet": (
        FILES["parquet"][:200] + FILES["parquet"][220:],
        {"name": "x"}, "unsupported-dataset", "damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_upload_leaves_nothing(service: Service, case: str) -> None:
    content, fields, problem, kind = REFUSED[case]
    before = service.traces()
    answer = upload(service, content, **fields)
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == f"/problems/{problem}"
    assert answer.json().get("kind", "") == kind
    assert service.traces() == before


def test_an_upload_is_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.settings, "max_dataset_bytes", 1 << 10)
    before = service.traces()
    answer = upload(service, bytes(6 << 20), name="x")
    assert answer.status_code == 413
    assert "SYNTHLOOM_MAX_DATASET_BYTES" in answer.json()["detail"]
    assert service.traces() == before


def test_what_looking_may_take_is_bounded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.settings, "max_dataset_images", 44)
    answer = upload(service, FILES["npz"], name="x")
    assert answer.json()["kind"] == "too-many-images"
    monkeypatch.setattr(service.settings, "dataset_memory_bytes", 1 << 20)
    answer = upload(service, FILES["npz"], name="x")
    assert answer.json()["kind"] in ("out-of-memory", "crashed")


def test_the_row_names_what_was_stored(service: Service) -> None:
    found = upload(service, FILES["npz"], name="row").json()
    with transaction(service.database) as session:
        row = session.query(Dataset).filter_by(id=found["id"]).one()
        assert storage(service).path(row.file_key).read_bytes() == FILES["npz"]
        assert row.file_bytes == found["bytes"] == len(FILES["npz"])
    service.client.delete(found["links"]["self"])
