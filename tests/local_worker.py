"""A worker inside the test's process, with a generator that costs nothing.

Everything but the network is real: database, storage, plan, shard loop, lifecycle, finalization.
The durable engine's part, calling a workflow until it has ended, is a loop over its queue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app import catalogue
from app.bootstrap import KEY_FILE, prepare
from app.datasets.rows import place_of_rows
from app.db.session import create_engine, transaction
from app.db.tables import DEFAULT_TENANT, Job, Shard
from app.engine.transforms import Changer
from app.errors import ModelUnusableError
from app.jobs import lifecycle
from app.jobs.asked_report import conditions_of
from app.jobs.dispatch import Dispatcher
from app.jobs.formats import kept
from app.jobs.request import JobRequest, Limits, make_plan
from app.jobs.work import WorkerContext, compare_job, finalize_job, guarded, run_shard
from app.settings import Settings
from app.storage import LocalStorage
from models.verdicts import Verdicts
from models.zoo.catalogue import shipped_classifiers
from tests.databases import fresh_in

MODEL = "fashion-cgan"
MOST_COMPARISONS = 30


class FakeBatch(NamedTuple):
    """Pixels, and which of them may be used."""

    pixels: NDArray[np.uint8]
    finite: NDArray[np.bool_]


class FakeEngine:
    """28×28 grey images that are a pure function of latent and label."""

    environment = {"device": "none"}
    device_seconds = 0.0

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> FakeBatch:
        """The first 8 bytes of each image are a digest of what it was asked from."""
        assert len(z) <= batch
        pixels = np.zeros((len(z), 28, 28, 1), np.uint8)
        for number, latent in enumerate(z):
            label = b"" if labels is None else labels[number].tobytes()
            digest = hashlib.sha256(latent.tobytes() + label).digest()[:8]
            pixels[number, 0, :8, 0] = np.frombuffer(digest, np.uint8)
        return FakeBatch(pixels, np.ones(len(z), bool))

    def submit(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Future[FakeBatch]:
        """`generate`, at once."""
        future: Future[FakeBatch] = Future()
        future.set_result(self.generate(model, z, labels, batch))
        return future

    def for_job(self, job_id: str, precision: str, psi: float | None = None) -> FakeEngine:
        """The same for every job."""
        return self

    def label(self, classifier: str, pixels: NDArray[np.uint8]) -> Verdicts:
        """There is none."""
        raise ModelUnusableError("This worker has no classifiers.")

    def latent_size(self, model: str) -> int:
        """As the zoo's conditional GAN."""
        return 64


class LocalWorker:
    """Submits and runs jobs without another process."""

    def __init__(self, folder: Path, database_url: str, **settings: object) -> None:
        self.settings = Settings(
            data_dir=folder, database_url=database_url, _env_file=None, **settings
        )
        if not (folder / KEY_FILE).exists():  # else it is that of a service
            fresh_in(self.settings)
            prepare(self.settings)
        self.database = create_engine(self.settings.sqlalchemy_url)
        self.storage = LocalStorage(self.settings.objects_dir)
        self.context = WorkerContext(
            settings=self.settings,
            worker_id="local",
            database=self.database,
            storage=self.storage,
            dispatcher=Dispatcher(self.database),
            engine=FakeEngine(),
            commit_step=self._commit,
            encoders=ThreadPoolExecutor(1),
            changes=lambda plan, shard: Changer(plan, shard).change,
        )

    def submit(self, counts: dict[str, int], seed: int = 7) -> Job:
        """A queued job for samples of `MODEL`."""
        return self.ask(JobRequest(model=MODEL, samples_per_class=counts), seed)

    def ask(self, request: JobRequest, seed: int = 7) -> Job:
        """A queued job."""
        encoders = {"png": "test/1"}
        judges = tuple(shipped.spec for shipped in shipped_classifiers())
        settings = self.settings
        limits = Limits(
            10**8, settings.shard_samples, settings.engine_batch, encoders, classifiers=judges
        )
        with self.context.transaction() as session:
            [source] = request.sources()
            spec = catalogue.spec_of(catalogue.find(session, DEFAULT_TENANT, source.model))
            plan = make_plan(request, [spec], seed, limits)
            return lifecycle.submit(
                session,
                self.context.dispatcher,
                tenant_id=DEFAULT_TENANT,
                plan=plan,
                formats=[kept(chosen) for chosen in request.formats],
                window=self.settings.shard_window,
                fingerprint="",
                idempotency_key=None,
                rows_in=place_of_rows(plan.samples, self.settings.rows_in_database_up_to),
                report=request.report.model_dump() if request.report else None,
                gate=conditions_of(request.gate, request.report),
                webhook=request.webhook.url if request.webhook else None,
            )

    def job(self, job_id: str) -> Job:
        """A job that somebody submitted."""
        with self.context.transaction() as session:
            return session.execute(sa.select(Job).where(Job.id == job_id)).scalar_one()

    def run_shards(self, job: Job, indices: Sequence[int] | None = None) -> None:
        """Run shards as the engine would, failures included."""
        for index in range(job.shards) if indices is None else indices:
            guarded(self.context, job.number, self._shard(job.number, index))

    def compare(self, job: Job) -> int:
        """Compare the shards, and run those again that have to be; how often that was needed."""
        for earlier in range(MOST_COMPARISONS):
            if self.state(job) != "running":
                return earlier
            guarded(
                self.context, job.number, partial(compare_job, self.context, job.number, earlier)
            )
            self.run_shards(job)
        raise AssertionError("the shards are compared without end")

    def finalize(self, job: Job) -> None:
        """Run the last step as the engine would; shards that have to be compared are."""
        if "near_duplicates" in job.plan.get("checks", {}):
            self.compare(job)
        guarded(self.context, job.number, lambda: finalize_job(self.context, job.number))

    def state(self, job: Job) -> str:
        """The job's state now."""
        with self.context.transaction() as session:
            return session.execute(
                sa.select(Job.state).where(Job.number == job.number)
            ).scalar_one()

    def stored_shards(self, job: Job) -> int:
        """Shards that are done."""
        with self.context.transaction() as session:
            return session.execute(
                sa.select(sa.func.count()).where(
                    Shard.job_number == job.number, Shard.done_at.is_not(None)
                )
            ).scalar_one()

    def files(self) -> list[str]:
        """Every stored file of every job."""
        return sorted(self.storage.list("jobs"))

    def close(self) -> None:
        """Release threads and connections."""
        self.context.encoders.shutdown()
        self.context.dispatcher.close()
        self.database.dispose()

    def _shard(self, number: int, index: int) -> Callable[[], None]:
        return lambda: run_shard(self.context, number, index)

    def _commit(self, function: Callable[[Session], bool]) -> bool:
        with transaction(self.database) as session:
            return function(session)
