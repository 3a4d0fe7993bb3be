"""A model that is deleted while jobs for it are submitted, on each database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import catalogue, deletion
from app.api import jobs
from app.db.session import transaction
from app.db.tables import DEFAULT_TENANT
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
from tests.builders import planned
from tests.registered import BODY, ZOO, add, type_of
from tests.service import Service, opened


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
