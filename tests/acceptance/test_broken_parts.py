"""Models and disks that break under a job: it fails with a sentence, and nothing is left."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.torch import load_file, save_file

from app import catalogue
from app.db.session import create_engine, transaction
from app.db.tables import DEFAULT_TENANT
from app.storage import LocalStorage
from models.checkpoint import save
from models.registry import build
from models.spec import ModelSpec
from models.zoo.catalogue import shipped_model
from tests.harness import follow, run_job, serving, submit, wait_for, worker

MODEL = "fashion-cgan"


def test_broken_models_fail_their_jobs_and_leave_the_service_well(tmp_path: Path) -> None:
    with serving(tmp_path, heartbeat_seconds=0.3) as server, server.client() as client:
        _register_nan_model(tmp_path)
        dry = _failed(client, {"model": "nan-gan", "samples_per_class": {"bag": 5}})
        assert dry["type"] == "/problems/class-ran-dry"
        assert dry["missing"] == {"bag": 5}
        assert "not finite" in dry["detail"]

        run_job(client, {"model": MODEL, "samples_per_class": {"bag": 5}})
        wait_for("only the good job's files", lambda: _job_folders(tmp_path) == 1, 30)


def test_weights_that_changed_on_the_disk_are_never_used(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.client() as client:
        [weights] = (tmp_path / "objects" / "models").rglob(f"{_sha256()}/*/weights.safetensors")
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
        problem = _failed(client, {"model": MODEL, "samples_per_class": {"bag": 5}})
        assert problem["type"] == "/problems/model-corrupt"
        assert "Register it again" in problem["detail"]
        wait_for("no files", lambda: _job_folders(tmp_path) == 0, 30)


def test_a_full_disk_fails_the_job_and_leaves_room_for_the_next(tmp_path: Path) -> None:
    objects = tmp_path / "objects"
    with (
        _small_disk(objects, mebibytes=24),
        serving(tmp_path, workers=0) as server,
        server.client() as client,
    ):
        refused = client.post("/v1/jobs", json={"model": MODEL, "samples_per_class": 10_000})
        assert refused.status_code == 507
        assert refused.json()["type"] == "/problems/storage-full"

        admitted = submit(client, {"model": MODEL, "samples_per_class": {"bag": 200}})
        late = None
        try:
            with _filled(objects, leave_bytes=60_000):
                late = worker(tmp_path, "late")
                problem = _problem_of(client, admitted["id"])
            assert problem["type"] == "/problems/storage-full"
            run_job(client, {"model": MODEL, "samples_per_class": {"bag": 200}})
            wait_for("only the good job's files", lambda: _job_folders(tmp_path) == 1, 30)
            assert late.stop() == 0
        finally:
            if late is not None:
                late.kill()


def _failed(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    return _problem_of(client, submit(client, body)["id"])


def _problem_of(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The problem of a job that must fail, and leave nothing to download."""
    job = follow(client, job_id).job
    assert job["state"] == "failed", job
    archive = client.get(f"/v1/jobs/{job['id']}/archives/imagefolder")
    assert archive.status_code == 409
    assert client.get(f"/v1/jobs/{job['id']}/manifest").json()["samples"] == []
    problem: dict[str, Any] = job["problem"]
    return problem


def _register_nan_model(data_dir: Path) -> None:
    """The shipped architecture with nothing but NaN for weights."""
    shipped = shipped_model(MODEL)
    folder = data_dir / "nan-gan"
    spec = save(folder, _renamed(shipped.spec), build(shipped.spec))
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
    save_file(tensors, path)
    spec = _with_weights(spec, path)
    database = create_engine(f"sqlite:///{data_dir / 'synthloom.db'}")
    with transaction(database) as session:
        storage = LocalStorage(data_dir / "objects")
        catalogue.register(session, storage, DEFAULT_TENANT, spec, path, None)
    database.dispose()


def _renamed(spec: ModelSpec) -> ModelSpec:
    return spec.model_copy(update={"name": "nan-gan"})


def _with_weights(spec: ModelSpec, path: Path) -> ModelSpec:

    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    weights = spec.weights.model_copy(update={"sha256": digest, "bytes": len(content)})
    return spec.model_copy(update={"weights": weights})


def _sha256() -> str:
    return shipped_model(MODEL).spec.sha256


def _job_folders(data_dir: Path) -> int:
    jobs = data_dir / "objects" / "jobs"
    return len(list(jobs.iterdir())) if jobs.exists() else 0


@contextmanager
def _small_disk(folder: Path, mebibytes: int) -> Iterator[None]:
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system of our own needs the right to mount one")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _filled(folder: Path, leave_bytes: int) -> Iterator[None]:
    ballast = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    ballast.write_bytes(b"\0" * (free - leave_bytes))
    try:
        yield
    finally:
        ballast.unlink()
