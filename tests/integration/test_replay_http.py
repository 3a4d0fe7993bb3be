"""Samples of jobs drawn again by a real server: equal, tampered with, other versions, gone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from app.cli.connection import Whereabouts
from app.cli.regenerate import Regeneration, regenerate
from app.datasets.verify import verify
from app.db.session import create_engine
from app.db.tables import Job, Sample, Shard
from app.settings import Settings
from tests.harness import Server, run_job, serving
from tests.mapped_model import mapped_model

BODIES: dict[str, dict[str, Any]] = {
    "by class": {"model": "fashion-cgan", "samples_per_class": 15, "sampling": {"truncation": 0.9},
                 "checks": {"copies": {"dataset": "shop", "percentile": 30}}},
    "labelled": {
        "model": "fashion-gan",
        "samples_per_class": 4,
        "labelled_by": {"classifier": "fashion-classifier", "min_confidence": 0.6},
        "checks": {
            "brightness": {"min": 0.15}, "copies": {"dataset": "shop", "percentile": 30},
            "near_duplicates": {"distance": 1},
        },
    },
    "two models": {
        "models": [
            {"model": "fashion-cvae", "classes": ["bag", "coat"], "class_map": {"shirt": "coat"}
             | {"coat": "shirt"}},
            {"model": "fashion-cgan"},
        ],
        "samples_per_class": {"bag": 30, "coat": 31, "dress": 9},
        "variants": 3,
        "encoding": {"format": "jpeg", "quality": 80},
        "transforms": [
            {"type": "noise", "sd": [0.05, 0.1]}, {"type": "rotate", "degrees": 20},
            {"type": "crop_resize"}, {"type": "blur"},
        ],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this file alone, whose rows may be changed."""
    with serving(tmp_path_factory.mktemp("replay"), shard_samples=50, engine_batch=32) as running:
        yield running


@pytest.fixture(scope="module")
def http(own: Server) -> Iterator[httpx.Client]:
    with own.client() as client:
        yield client


@pytest.fixture(scope="module")
def database(own: Server) -> Iterator[sa.Engine]:
    engine = create_engine(Settings(data_dir=own.data_dir, _env_file=None).sqlalchemy_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module", params=BODIES)
def job(request: pytest.FixtureRequest, http: httpx.Client) -> dict[str, Any]:
    """A job that has succeeded; a dataset that it was held against is gone again."""
    body = BODIES[request.param] | {"seed": 6}
    if "copies" not in body.get("checks", {}):
        return run_job(http, body)
    upload = {"file": ("shop.zip", real_images(http))}
    dataset = http.post("/v1/datasets", files=upload, data={"name": "shop"})
    assert dataset.status_code == 201, dataset.text
    job = run_job(http, body)
    assert job["progress"]["refused"]["copy"] > 0
    assert http.delete(f"/v1/datasets/{dataset.json()['id']}").status_code == 204
    return job


def real_images(http: httpx.Client) -> bytes:
    """What takes the place of real ones: samples of a model, as near to others as they are."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as folders:
        for split, seed in (("train", 101), ("test", 102)):
            body = {"model": "fashion-cgan", "samples_per_class": 12, "seed": seed}
            answer = http.post("/v1/samples", json=body)
            with zipfile.ZipFile(io.BytesIO(answer.content)) as samples:
                for name in samples.namelist():
                    if name.endswith(".png"):
                        folders.writestr(f"{split}/{name}", samples.read(name))
    return packed.getvalue()


@pytest.fixture
def fresh(http: httpx.Client) -> dict[str, Any]:
    """A job that a test may tamper with."""
    return run_job(http, {"model": "fashion-cgan", "samples_per_class": {"bag": 20}, "seed": 1})


def replayed(http: httpx.Client, job: dict[str, Any], **asked: Any) -> dict[str, Any]:
    answer = http.post(f"{job['links']['self']}/replay", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def change(database: sa.Engine, job: dict[str, Any], table: Any, index: int, **to: Any) -> None:
    with database.begin() as connection:
        number = sa.select(Job.number).where(Job.id == job["id"]).scalar_subquery()
        chosen = (table.job_number == number) & (table.index == index)
        assert connection.execute(sa.update(table).where(chosen).values(**to)).rowcount == 1


def test_every_sample_is_what_the_manifest_lists(http: httpx.Client, job: dict[str, Any]) -> None:
    found = replayed(http, job, share=1.0)
    assert (found["samples"], found["equal"]) == (job["samples"], job["samples"])
    assert found["environment_changes"] == []
    assert found["verdict"].startswith(f"All {job['samples']} samples")
    [then] = found["environment_then"]
    assert then == found["environment_now"] | {"engine_batch": "32"}
    assert {"device", "torch", "numpy", "engine_batch", "precision"} <= then.keys()


def test_an_archive_and_its_manifest_are_enough(
    own: Server, http: httpx.Client, job: dict[str, Any], tmp_path: Path
) -> None:
    archive, manifest = tmp_path / "archive.zip", tmp_path / "manifest.ndjson"
    archive.write_bytes(http.get(job["archives"][0]["url"]).content)
    manifest.write_bytes(http.get(f"{job['links']['manifest']}.ndjson").content)

    def again(amount: str) -> Regeneration:
        where = Whereabouts(server=own.url, api_key=own.key)
        return regenerate(archive, manifest, amount, where, None)

    assert verify(archive, manifest=manifest).ok
    found = again("100%")
    assert (found.samples, found.different) == (job["samples"], [])
    assert found.environment["torch"]
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines[2]["candidate"] += 1
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert again(str(job["samples"])).different == [
        f"Sample 2 ({lines[2]['class']}) has other pixels when it is drawn again."
    ]


def test_a_row_and_a_file_that_were_tampered_with_are_named(
    own: Server, http: httpx.Client, database: sa.Engine, fresh: dict[str, Any]
) -> None:
    change(database, fresh, Sample, 3, pixel_sha256=b"\1" * 32)
    with database.connect() as connection:
        key, offset = connection.execute(
            sa.select(Shard.object_key, Sample.offset)
            .join(Sample, (Sample.job_number == Shard.job_number) & (Sample.shard == Shard.index))
            .join(Job, Job.number == Shard.job_number)
            .where(Job.id == fresh["id"], Sample.index == 5)
        ).one()
    path = own.data_dir / "objects" / key
    content = bytearray(path.read_bytes())
    content[offset + 60] ^= 1
    path.write_bytes(content)
    found = replayed(http, fresh, samples=20)
    assert (found["samples"], found["equal"]) == (20, 18)
    row, file = found["different"]
    assert (row["index"], row["class"], row["pixels_equal"], row["file_equal"]) == (
        3, "bag", False, True,
    )  # fmt: skip
    assert row["pixel_sha256"] == "01" * 32
    assert row["largest_difference"] == 0  # the image is right: it is the row that lies
    assert (file["index"], file["pixels_equal"], file["file_equal"]) == (5, True, False)
    assert "The environment is the same" in found["verdict"]
    assert replayed(http, fresh, indices=[7, 3, 7])["equal"] == 1


def test_another_environment_is_said(
    http: httpx.Client, database: sa.Engine, fresh: dict[str, Any]
) -> None:
    then = replayed(http, fresh, samples=1)["environment_now"]
    old = then | {"torch": "1.13.0", "device": "cuda"}
    change(database, fresh, Shard, 0, environment=old)
    found = replayed(http, fresh, samples=2)
    assert found["equal"] == 2
    assert found["environment_changes"] == [
        "device cuda then, cpu now",
        f"torch 1.13.0 then, {then['torch']} now",
    ]
    assert "torch 1.13.0 then" in found["verdict"]


def test_a_model_that_was_deleted_is_named(http: httpx.Client, tmp_path: Path) -> None:
    _, file, _ = mapped_model(tmp_path, "shortlived")
    answer = http.post(
        "/v1/models",
        files={"weights": ("shortlived.zip", file.read_bytes())},
        data={"accept_degenerate": "true"},
    )
    assert answer.is_success, answer.text
    body = {"model": "shortlived", "samples_per_class": 4, "sampling": {"psi": 0.6}}
    job = run_job(http, body)
    assert replayed(http, job)["equal"] == 12
    assert http.delete("/v1/models/shortlived@1.0.0").is_success
    answer = http.post(f"{job['links']['self']}/replay", json={})
    assert answer.status_code == 410
    assert answer.json()["type"] == "/problems/model-gone"
    assert answer.json()["models"] == ["shortlived@1.0.0"]


def test_bad_input_is_refused(http: httpx.Client, fresh: dict[str, Any]) -> None:
    path = f"{fresh['links']['self']}/replay"
    for asked in (
        {"indices": [20]},
        {"indices": [-1]},
        {"indices": []},
        {"samples": 0},
        {"samples": 1001},
        {"share": 0},
        {"share": 1.1},
        {"share": 0.5, "samples": 3},
        {"what": 1},
    ):
        assert http.post(path, json=asked).status_code == 422, asked
    assert http.post("/v1/jobs/job_none/replay", json={}).status_code == 404
    running = http.post("/v1/jobs", json={"model": "fashion-cgan", "samples_per_class": 9}).json()
    http.post(running["links"]["cancel"])
    answer = http.post(f"{running['links']['self']}/replay", json={})
    assert answer.status_code in (200, 409)  # 200: it was faster than the cancellation
    sample = {"model_sha256": "0" * 64, "shard": 0, "candidate": 0}
    redraw = {"seed": 1, "engine_batch": 8, "samples": [sample]}
    assert http.post("/v1/samples/redraw", json=redraw).json()["type"] == "/problems/unknown-model"
    sample["model_sha256"] = fresh["models"][0]["sha256"]
    for label in (None, 10, -1):
        answer = http.post(
            "/v1/samples/redraw", json=redraw | {"samples": [sample | {"label": label}]}
        )
        assert answer.status_code == 422
