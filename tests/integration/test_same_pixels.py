"""The pixels of a job are the same alone and among 63 others; its shards say what drew them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
import torch

from app.db.tables import Job, Sample, Shard
from app.engine.batcher import Arriving
from app.engine.devices import share_cores
from app.engine.engine import Engine
from app.engine.forward import Forward
from app.engine.place import Limits
from app.jobs.request import JobRequest
from models.checkpoint import load
from models.generator import Generator, Pixels
from models.zoo.catalogue import shipped
from tests.local_worker import LocalWorker

JOBS, SAMPLES, BATCH = 64, 40, 64
REQUESTS = {
    "fashion-cgan": {"samples_per_class": SAMPLES // 10},
    "fashion-gan": {"samples": SAMPLES},
}


class Counted(Forward):
    """Counts batches."""

    batches = 0

    def __call__(self, *arguments: object) -> Pixels | Arriving:
        self.batches += 1
        return super().__call__(*arguments)


def never(error: BaseException) -> None:
    raise AssertionError("the device broke") from error


def loaded(sha256: str, device: torch.device) -> Generator:
    model = next(model for model in shipped() if model.spec.sha256 == sha256)
    return load(model.spec, model.weights_path, device)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[LocalWorker]:
    made = LocalWorker(tmp_path, "", engine_batch=BATCH)
    yield made
    made.close()


@pytest.fixture
def streams() -> Iterator[int]:
    """Two batches at a time, each with a share of the cores."""
    threads = torch.get_num_threads()
    yield share_cores(2)
    torch.set_num_threads(threads)


def drawn(worker: LocalWorker, forward: Forward, jobs: list[Job], streams: int = 1) -> None:
    """All at once, as many as there are."""
    limits = Limits(1 << 30, linger_seconds=0.02, most_waiting=1_000, cpu_streams=streams)
    engine = Engine(torch.device("cpu"), loaded, forward, limits)
    worker.context.engine = engine
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(worker.run_shards, jobs))
    engine.close()
    assert {worker.state(job) for job in jobs} == {"finalizing"}


def pixel_hashes(worker: LocalWorker, job: Job) -> list[bytes]:
    with worker.context.transaction() as session:
        query = sa.select(Sample.pixel_sha256).where(Sample.job_number == job.number)
        return list(session.execute(query.order_by(Sample.index)).scalars())


def environments(worker: LocalWorker, job: Job) -> list[dict[str, str]]:
    with worker.context.transaction() as session:
        query = sa.select(Shard.environment).where(Shard.job_number == job.number)
        return list(session.execute(query).scalars())


@pytest.mark.parametrize("model", REQUESTS)
def test_a_job_alone_and_among_63_others(model: str, worker: LocalWorker) -> None:
    request = JobRequest(model=model, **REQUESTS[model])
    alone = [worker.ask(request, seed) for seed in (1, 64)]
    for job in alone:
        drawn(worker, Counted(never), [job])
    together = [worker.ask(request, seed) for seed in range(1, JOBS + 1)]
    forward = Counted(never)
    drawn(worker, forward, together)
    assert forward.batches < JOBS, "no batch was shared"
    hashes = [pixel_hashes(worker, job) for job in together]
    assert [hashes[0], hashes[-1]] == [pixel_hashes(worker, job) for job in alone]
    assert len({digest for one in hashes for digest in one}) == JOBS * SAMPLES


@pytest.mark.parametrize("model", REQUESTS)
def test_a_job_in_two_streams(
    model: str, worker: LocalWorker, request: pytest.FixtureRequest
) -> None:
    """Also with fewer threads to a batch than before."""
    asked = JobRequest(model=model, **REQUESTS[model])
    in_one, in_two = worker.ask(asked, 5), worker.ask(asked, 5)
    drawn(worker, Forward(never), [in_one])
    drawn(worker, Forward(never), [in_two], request.getfixturevalue("streams"))
    assert pixel_hashes(worker, in_one) == pixel_hashes(worker, in_two)


def test_a_shard_that_the_cpu_drew_for_want_of_room_says_so(worker: LocalWorker) -> None:
    """The worker's device stands for a GPU that is full; the images are those of the CPU."""

    def full(sha256: str, device: torch.device) -> Generator:
        if device.type != "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return loaded(sha256, device)

    request = JobRequest(model="fashion-cgan", samples_per_class=4)
    on_cpu, fallen_back = worker.ask(request, 1), worker.ask(request, 1)
    drawn(worker, Forward(never), [on_cpu])
    limits = Limits(resident_bytes=1 << 30, linger_seconds=0.0, most_waiting=1_000)
    worker.context.engine = Engine(torch.device("meta"), full, Forward(never), limits)
    worker.run_shards(fallen_back)
    worker.context.engine.close()
    assert worker.context.engine.environment["device"] == "meta"
    assert [made["device"] for made in environments(worker, fallen_back)] == ["cpu"]
    assert environments(worker, fallen_back) == environments(worker, on_cpu)
    assert pixel_hashes(worker, fallen_back) == pixel_hashes(worker, on_cpu)
