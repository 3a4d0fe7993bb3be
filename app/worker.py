"""The worker process: takes shards from the queue, runs them on its device, finalizes jobs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import sqlalchemy as sa
import torch
from dbos import DBOS, DBOSConfig, SQLAlchemyDatasource
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, wait_fixed

from app import catalogue, deletion, workflows
from app.datasets.signing import signing_of
from app.db.migrate import check
from app.db.session import connection_name, create_engine, now, transaction
from app.db.tables import Model, Worker
from app.engine.devices import choose_device, share_cores, versions
from app.engine.engine import Engine
from app.engine.forward import Forward
from app.engine.labeller import Labeller, LoadClassifier
from app.engine.memory import hand_back_free_pages, use_one_heap
from app.engine.originals import Shelf
from app.engine.place import Limits, LoadOnto
from app.engine.trial import Trials
from app.errors import (
    StorageFullError,
    UnavailableError,
    UnknownClassifierError,
    UnknownModelError,
)
from app.generation_server import GenerationServer, Try
from app.jobs import sweep
from app.jobs.dispatch import (
    APPLICATION,
    APPLICATION_VERSION,
    SERIALIZER,
    WEBHOOKS_QUEUE,
    Dispatcher,
)
from app.jobs.encoded import Change
from app.jobs.lost import LostWork
from app.jobs.plan import Plan
from app.jobs.transforms import transforms_of
from app.jobs.work import CommitStep, JobEngine, WorkerContext
from app.runs.job_evaluation import evaluate_job
from app.runs.sweep import remove_orphans, sweep_ended_runs
from app.settings import Settings
from app.storage import LocalStorage
from app.wire import Drawn, Transforming, Tried
from models.checkpoint import load, load_classifier
from models.classifier import Classifier
from models.errors import CheckpointError
from models.generator import Generator
from models.spec import ModelSpec
from models.zoo.catalogue import shipped_classifiers

log = logging.getLogger(__name__)

ORPHAN_SECONDS = 60.0
"""How often files that no row names are looked for."""
BROKEN_DEVICE_EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits: start it again."""
SWITCH_SECONDS = 0.0005
"""How long another thread may keep the interpreter from the one that feeds the device, which needs
it between any two operations; Python's 5 ms are longer than a whole batch of a small network."""
LEAVE_SECONDS = 10.0
"""How long a stopping process waits for its shards and runs to notice."""


def _commit_step(settings: Settings, database: sa.Engine) -> CommitStep:
    datasource = SQLAlchemyDatasource.create(
        settings.sqlalchemy_url, engine=database, serializer=SERIALIZER, run_migrations=False
    )
    # SQLite has one writer at a time; on PostgreSQL the conditional updates are what guards us.
    isolation: Any = "SERIALIZABLE" if database.dialect.name == "sqlite" else "READ COMMITTED"

    def run(function: Callable[[Session], bool]) -> bool:
        return datasource.run_tx_step(
            {"name": "commit_shard", "isolation_level": isolation},
            lambda: function(datasource.sql_session()),
        )

    return run


def _model_loader(database: sa.Engine, storage: LocalStorage) -> LoadOnto:
    def registered(sha256: str) -> Model:
        with transaction(database) as session:
            row = session.execute(sa.select(Model).where(Model.sha256 == sha256)).scalars().first()
        if row is None:
            raise UnknownModelError(
                f"The model {sha256[:12]}… was deleted. Name another one, or import it again."
            )
        return row

    def load_model(sha256: str, device: torch.device) -> Generator:
        row = registered(sha256)
        try:
            return load(catalogue.spec_of(row), storage.path(row.weights_key), device)
        except CheckpointError:
            registered(sha256)  # it may have been deleted since: then that is what to say
            raise

    return load_model


def _classifier_loader() -> LoadClassifier:
    known = {shipped.spec.sha256: shipped for shipped in shipped_classifiers()}

    def load_known(sha256: str, device: torch.device) -> Classifier:
        if sha256 not in known:
            raise UnknownClassifierError(
                f"This worker does not have the classifier {sha256[:12]}…: its package is of "
                "another version than the server's. Install the same one, then submit again."
            )
        found = load_classifier(known[sha256].spec, known[sha256].weights_path, device)
        return found.to(memory_format=torch.channels_last)  # about twice as fast on a processor

    return load_known


def _trier(settings: Settings, storage: LocalStorage) -> Try:
    trials = Trials(choose_device(settings.device))

    def try_model(spec: ModelSpec, key: str) -> Tried:
        probed = trials.run(spec, storage.path(key))
        return Tried(probed.report.model_dump(mode="json"), list(probed.names), probed.images)

    return try_model


def build_engine(
    settings: Settings, database: sa.Engine, storage: LocalStorage, cpu_streams: int = 1
) -> Engine:
    """The worker's device, with the models of the catalogue at hand."""
    device = choose_device(settings.device)
    return Engine(
        device,
        _model_loader(database, storage),
        Forward(_leave_broken_device),
        Limits(
            resident_bytes=settings.resident_bytes,
            linger_seconds=settings.batch_linger_seconds,
            most_waiting=settings.sync_waiting_samples,
            cpu_streams=cpu_streams,
        ),
        labeller=Labeller(
            device, _classifier_loader(), settings.resident_bytes, _leave_broken_device
        ),
    )


def build_context(
    settings: Settings,
    worker_id: str,
    database: sa.Engine,
    storage: LocalStorage,
    engine: JobEngine,
) -> WorkerContext:
    """Everything a worker holds; the durable engine is configured, not yet launched."""
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": settings.sqlalchemy_url,
        "system_database_engine": database,
        "application_version": APPLICATION_VERSION,
        "executor_id": worker_id,
        "serializer": SERIALIZER,
        "run_migrations": False,
        "use_listen_notify": False,
        "log_level": "WARNING",
        "enable_otlp": False,
    }
    DBOS(config=config)
    return WorkerContext(
        settings=settings,
        worker_id=worker_id,
        database=database,
        storage=storage,
        dispatcher=Dispatcher(database),
        engine=engine,
        commit_step=_commit_step(settings, database),
        encoders=ThreadPoolExecutor(settings.encode_threads, thread_name_prefix="encode"),
        changes=_changes,
        evaluate=evaluate_job,
        signing=signing_of(settings.c2pa_certificate, settings.c2pa_key, settings.c2pa_algorithm),
        originals=Shelf().load,
    )


def _changes(plan: Plan, shard: int) -> Change:
    from app.engine.transforms import Changer  # torchvision, which takes seconds, for few jobs

    return Changer(plan, shard).change


def _transform_again(asked: Transforming) -> Drawn:
    from app.engine.transforms import Stream, change_again

    streams = [Stream(asked.seed, asked.model, *origin) for origin in asked.origins.tolist()]
    changed = change_again(transforms_of(asked.transforms), streams, asked.pixels)
    return Drawn(changed, np.ones(len(changed), np.bool_), versions())


def run_worker(settings: Settings, worker_id: str) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    use_one_heap()
    sys.setswitchinterval(SWITCH_SECONDS)
    database = create_engine(settings.sqlalchemy_url, connection_name(worker_id, os.getpid()))
    check(database)
    storage = LocalStorage(settings.objects_dir)
    engine = build_engine(settings, database, storage, share_cores(settings.cpu_streams))
    context = build_context(settings, worker_id, database, storage, engine)
    try_model = _trier(settings, storage)
    door = GenerationServer(
        engine,
        try_model,
        _transform_again,
        settings.worker_listen,
        settings.data_dir / "run",
        worker_id,
    )
    door.start()
    announce(context, door)
    workflows.register(context, try_model)
    workflows.listen(settings, _patient(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: context.stopping.set())
    log.info("worker %s runs on %s", worker_id, context.engine.environment["device"])
    _housekeep(context, door)
    door.close()
    _leave(context)


def _leave_broken_device(error: BaseException) -> None:
    """A CUDA context that met an assert is lost for the whole process: only a new one helps.

    Nothing is committed, so whoever takes over the shards runs them again.
    """
    log.critical("the device can't be used any more; the worker ends", exc_info=error)
    sys.stderr.flush()
    os._exit(BROKEN_DEVICE_EXIT_CODE)


def _housekeep(context: WorkerContext, door: GenerationServer) -> None:
    next_orphans, left_models = 0.0, deletion.LeftFiles()
    lost = LostWork(context.settings.lease_seconds)
    while not context.stopping.is_set():
        try:
            _say_alive(context, door)
            running = context.dispatcher.running()
            sweep.take_over_silent_workers(
                context.transaction, context.dispatcher, running, context.settings.lease_seconds
            )
            lost.run_again(
                context.dispatcher, running.get(context.worker_id, {}), context.in_hand()
            )
            sweep.sweep_ended_jobs(context.transaction, context.dispatcher, context.storage)
            context.dispatcher.forget_ended(WEBHOOKS_QUEUE)
            sweep_ended_runs(context.transaction, context.dispatcher, context.storage)
            if time.monotonic() >= next_orphans:
                sweep.remove_orphans(context.transaction, context.storage)
                left_models.remove(context.transaction, context.storage)
                remove_orphans(context.transaction, context.storage)
                next_orphans = time.monotonic() + ORPHAN_SECONDS
        except Exception:
            log.exception("housekeeping failed; it is tried again")
        hand_back_free_pages()
        context.stopping.wait(context.settings.heartbeat_seconds)


def announce(context: WorkerContext, door: GenerationServer) -> None:
    """The first heartbeat. A database that is busy or away is waited for, as later ones do."""
    _patient(context.settings)(_say_alive, context, door)


def _patient(settings: Settings) -> Retrying:
    """Tries again what a start writes, for as long as the database can't take it."""
    return Retrying(
        retry=retry_if_exception_type((UnavailableError, StorageFullError, OperationalError)),
        wait=wait_fixed(settings.heartbeat_seconds),
        before_sleep=before_sleep_log(log, logging.WARNING),
    )


def _say_alive(context: WorkerContext, door: GenerationServer) -> None:
    with context.transaction() as session:
        moment = now(session)
        row = session.get(Worker, context.worker_id)
        if row is None:
            environment = context.engine.environment
            name = f"{environment['device']} {environment['device_name']}"[:64]
            row = Worker(id=context.worker_id, device=name, started_at=moment)
            session.add(row)
        row.address, row.token = door.address, door.token
        row.pid = os.getpid()
        row.seen_at = moment


def _leave(context: WorkerContext) -> None:
    """Say goodbye, so that nobody waits for the lease before our shards run elsewhere."""
    if not context.wait_until_idle(LEAVE_SECONDS):
        log.warning("a shard did not stop in time; another worker runs it again")
    try:
        with context.transaction() as session:
            # By process too: a successor of the same name may be at work already.
            mine = (Worker.id == context.worker_id) & (Worker.pid == os.getpid())
            session.execute(sa.delete(Worker).where(mine))
    except UnavailableError:
        log.warning("the database is away; the lease tells the others that this worker is gone")
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the durable engine never end by themselves, and hold nothing that matters.
    os._exit(0)
