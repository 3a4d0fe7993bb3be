"""One shard, run with an engine that is plain arithmetic: exactly N, the same every time."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from app.datasets.zip_writer import ZipWriter
from app.errors import DryClassError, JobStoppedError
from app.jobs.drawing import BATCHES_ASKED, AtOnce, Submits
from app.jobs.plan import Cell, Plan
from app.jobs.shard import BATCHES_AHEAD, ShardRun
from models.latents import normal
from tests.builders import image, plan_of, planned, spec

SIDE = 6
LATENT = 5


@dataclass
class Made:
    """A batch."""

    pixels: NDArray[np.uint8]
    finite: NDArray[np.bool_]


@dataclass
class Arithmetic:
    """An engine whose images are a function of model, latent and label; some are refused."""

    refuses: Callable[[NDArray[np.float32], NDArray[np.int64] | None], NDArray[np.bool_]] = (
        lambda z, _: np.zeros(len(z), np.bool_)
    )
    calls: list[tuple[str, int]] = field(default_factory=list)

    def latent_size(self, model: str) -> int:
        return LATENT

    def generate(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Made:
        assert z.dtype == np.float32
        assert z.shape == (len(z), LATENT)
        assert 0 < len(z) <= batch
        assert labels is None or (labels.dtype == np.int64 and labels.shape == (len(z),))
        self.calls.append((model, len(z)))
        pairs = zip(z, conditions(labels, z), strict=True)
        pixels = np.stack([drawn(model, row, label) for row, label in pairs])
        finite = ~self.refuses(z, labels)
        pixels[~finite] = 0
        return Made(pixels, finite)


def conditions(labels: NDArray[np.int64] | None, z: NDArray[np.float32]) -> list[int]:
    return [-1] * len(z) if labels is None else labels.tolist()


def drawn(model: str, z: NDArray[np.float32], label: int) -> NDArray[np.uint8]:
    digest = hashlib.sha256(model.encode() + z.tobytes() + b"%d" % label).digest()
    return np.frombuffer((digest * 2)[: SIDE * SIDE], np.uint8).reshape(SIDE, SIDE, 1)


def latent(plan: Plan, shard: int, model: str, candidate: int) -> NDArray[np.float32]:
    return normal(seed=plan.seed, model=model, shard=shard, first=candidate, count=1, size=LATENT)[
        0
    ]


def every_third(z: NDArray[np.float32], _: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """Refuses about a third, by the latent alone."""
    return np.array([hashlib.sha256(row.tobytes()).digest()[0] % 3 == 0 for row in z])


def run(
    plan: Plan,
    engine: Arithmetic,
    shard: int = 0,
    encoders: Executor | None = None,
    report: Callable[[int], None] = lambda _: None,
    factor: float = 10.0,
    submits: Submits | None = None,
) -> tuple[ShardRun, bytes]:
    with ThreadPoolExecutor(2) as pool:
        made = ShardRun(
            plan=plan,
            shard=plan.shard(shard),
            engine=submits or AtOnce(engine),
            encoders=encoders or pool,
            report=report,
            refusal_factor=factor,
        )
        sink = io.BytesIO()
        members = ZipWriter(sink)
        try:
            made.write(members)
            members.close()
        finally:
            members.discard()
    return made, sink.getvalue()


def small(counts: list[int], shards: int = 1, **fields: object) -> Plan:
    return plan_of(counts, shards, image=image(SIDE, SIDE), **fields)


@pytest.fixture(params=[None, every_third], ids=["all good", "a third refused"])
def engine(request: pytest.FixtureRequest) -> Arithmetic:
    return Arithmetic(request.param) if request.param else Arithmetic()


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 40),
    st.sampled_from([Arithmetic(), Arithmetic(every_third)]),
)
def test_exactly_what_was_planned(
    counts: list[int], shards: int, batch: int, engine: Arithmetic
) -> None:
    plan = small(counts, shards, engine_batch=batch)
    made = [run(plan, engine, shard)[0] for shard in range(shards)]
    rows = [row for one in made for row in one.rows]
    assert [row.sample for row in rows] == list(range(sum(counts)))
    assert [sum(row.cell == k for row in rows) for k in range(len(counts))] == counts


def test_every_sample_is_its_candidate_drawn_alone(engine: Arithmetic) -> None:
    plan = small([30, 20, 10], 2, engine_batch=7)
    for shard in range(2):
        made, content = run(plan, engine, shard)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for row in made.rows:
                cell, model = plan.cells[row.cell], plan.models[0].sha256
                expected = drawn(model, latent(plan, shard, model, row.candidate), cell.condition)
                payload = archive.read(f"class-{cell.label}/{row.sample:08d}.png")
                with Image.open(io.BytesIO(payload)) as picture:
                    assert np.array_equal(np.asarray(picture), expected[:, :, 0])
                assert row.pixel_sha256 == hashlib.sha256(expected.tobytes()).digest()
                assert row.file_sha256 == hashlib.sha256(payload).digest()
                assert content[row.offset : row.offset + row.length] == payload


def test_no_candidate_is_used_twice_and_refused_ones_never(engine: Arithmetic) -> None:
    plan = small([40, 25])
    made, _ = run(plan, engine)
    used = [row.candidate for row in made.rows]
    assert len(set(used)) == len(used)
    model = plan.models[0].sha256
    z = normal(seed=7, model=model, shard=0, first=0, count=max(used) + 1, size=LATENT)
    refused = set(np.flatnonzero(engine.refuses(z, None)).tolist())
    assert not refused & set(used)
    assert len(used) + made.refused == sum(size for _, size in engine.calls)


def test_samples_that_were_not_refused_keep_their_candidate() -> None:
    plan = small([50])
    clean, topped_up = run(plan, Arithmetic())[0], run(plan, Arithmetic(every_third))[0]
    assert [row.candidate for row in clean.rows] == list(range(50))
    for before, after in zip(clean.rows, topped_up.rows, strict=True):
        assert after.candidate == before.candidate or after.candidate >= 50


@pytest.mark.parametrize("batch", [1, 3, 16, 64, 1000])
def test_the_batch_size_changes_nothing(engine: Arithmetic, batch: int) -> None:
    made, content = run(small([33, 21, 9], engine_batch=batch), engine)
    expected, reference = run(small([33, 21, 9], engine_batch=8), engine)
    assert [(r.sample, r.candidate, r.pixel_sha256) for r in made.rows] == [
        (r.sample, r.candidate, r.pixel_sha256) for r in expected.rows
    ]
    with zipfile.ZipFile(io.BytesIO(content)) as one, zipfile.ZipFile(io.BytesIO(reference)) as two:
        assert {n: one.read(n) for n in one.namelist()} == {n: two.read(n) for n in two.namelist()}


def test_two_runs_give_equal_bytes(engine: Arithmetic) -> None:
    plan = small([33, 21, 9], engine_batch=8)
    one, two = run(plan, engine), run(plan, engine)
    assert one[1] == two[1]
    assert one[0].rows == two[0].rows


def test_shards_and_seeds_differ() -> None:
    plan = small([20], 2)
    first, second = run(plan, Arithmetic(), 0)[0], run(plan, Arithmetic(), 1)[0]
    other = run(replace(plan, seed=8), Arithmetic(), 0)[0]
    hashes = [{row.pixel_sha256 for row in made.rows} for made in (first, second, other)]
    assert sum(map(len, hashes)) == 30
    assert len(set.union(*hashes)) == 30


# Several models, and none that takes a class


def mixed(shards: int = 1) -> Plan:
    document = {"models": [{"model": "a", "weight": 2}, {"model": "b"}], "samples_per_class": 30}
    shape = {"image": image(SIDE, SIDE)}
    plan = planned(document, spec("a", ("cat", "dog"), **shape), spec("b", ("dog", "cat"), **shape))
    return replace(plan, shards=shards, engine_batch=8)


def test_each_model_gets_its_own_labels_and_stream(engine: Arithmetic) -> None:
    plan = mixed()
    made, _ = run(plan, engine)
    assert [row.sample for row in made.rows] == list(range(60))
    for row in made.rows:
        cell = plan.cells[row.cell]
        model = plan.models[cell.model].sha256
        condition = ("cat", "dog")[cell.label]
        label = {0: ("cat", "dog"), 1: ("dog", "cat")}[cell.model].index(condition)
        expected = drawn(model, latent(plan, 0, model, row.candidate), label)
        assert row.pixel_sha256 == hashlib.sha256(expected.tobytes()).digest()


def test_a_model_without_classes_gets_no_labels() -> None:
    plan = small([40], cells=(Cell(0, 0, -1, 40),))
    seen: list[object] = []

    def note(z: NDArray[np.float32], labels: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        seen.append(labels)
        return np.zeros(len(z), np.bool_)

    made, _ = run(plan, Arithmetic(note))
    assert len(made.rows) == 40
    assert seen
    assert all(labels is None for labels in seen)


def test_a_shard_without_samples_is_an_empty_archive() -> None:
    plan = small([1, 1, 1], 3)
    assert plan.shard(0).size == 0
    made, content = run(plan, Arithmetic(), 0)
    assert made.rows == []
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == []


# A class that runs dry


def test_a_dry_class_is_named() -> None:
    def never_one(z: NDArray[np.float32], labels: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        assert labels is not None
        return labels == 1

    with pytest.raises(DryClassError) as dry:
        run(small([20, 20], engine_batch=8), Arithmetic(never_one))
    assert dry.value.members["missing"] == {"class-1": 20}
    assert "class-1" in dry.value.detail
    assert "class-0" not in dry.value.detail
    assert "not finite" in dry.value.detail
    assert "maker@1.0" in dry.value.detail


@pytest.mark.parametrize("factor", [1.0, 2.5, 10.0])
def test_the_limit_of_candidates_holds(factor: float) -> None:
    everything = Arithmetic(lambda z, _: np.ones(len(z), np.bool_))
    with pytest.raises(DryClassError) as dry:
        run(small([16], engine_batch=5), everything, factor=factor)
    candidates = sum(size for _, size in everything.calls)
    assert candidates == 16 * int(factor)
    assert dry.value.members["refused"] == {"not-finite": candidates}


# How it runs


class Inline(Executor):
    """Encodes when asked, and remembers how many batches were waiting."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0

    def submit(self, fn, /, *args, **kwargs):
        executor = self

        class Watched(Future):
            def result(self, timeout: float | None = None) -> object:
                executor.waiting -= 1
                return super().result(timeout)

        self.waiting += 1
        self.most = max(self.most, self.waiting)
        future = Watched()
        future.set_result(fn(*args, **kwargs))
        return future


def test_few_batches_wait_however_many_there_are() -> None:
    encoders = Inline()
    made, _ = run(small([2000], engine_batch=4), Arithmetic(), encoders=encoders)
    assert len(made.rows) == 2000
    assert encoders.most <= BATCHES_AHEAD
    assert encoders.waiting == 0


class Patient(Arithmetic):
    """Answers a batch only when it has the next ones, as many as a shard may have asked for."""

    def __init__(self, refuses: Callable[..., NDArray[np.bool_]], last: int) -> None:
        super().__init__(refuses)
        self.under_way: list[tuple[Future[Made], Made]] = []
        self.most = 0
        self._last = last

    def submit(
        self, model: str, z: NDArray[np.float32], labels: NDArray[np.int64] | None, batch: int
    ) -> Future[Made]:
        future: Future[Made] = Future()
        self.under_way.append((future, self.generate(model, z, labels, batch)))
        self.most = max(self.most, len(self.under_way))
        at_the_end = len(self.calls) == self._last
        while self.under_way and (len(self.under_way) == BATCHES_ASKED or at_the_end):
            first, made = self.under_way.pop(0)
            first.set_result(made)
        return future


def test_the_engine_has_the_next_batches_before_it_answers_one() -> None:
    engine = Patient(lambda z, _: np.zeros(len(z), np.bool_), last=10)
    made, content = run(small([80], engine_batch=8), engine, submits=engine)
    assert engine.most == BATCHES_ASKED
    assert content == run(small([80], engine_batch=8), Arithmetic())[1]
    assert [row.candidate for row in made.rows] == list(range(80))


def test_what_a_stopped_run_asked_for_is_cancelled() -> None:
    engine = Patient(lambda z, _: np.zeros(len(z), np.bool_), last=500)

    def stop(drawn: int) -> None:
        raise JobStoppedError("The job was cancelled.")

    with pytest.raises(JobStoppedError):
        run(small([4000], engine_batch=8), engine, report=stop, submits=engine)
    assert engine.under_way
    assert all(future.cancelled() for future, _ in engine.under_way)


def test_progress_is_reported_and_never_falls() -> None:
    reports: list[int] = []
    run(small([30, 30], engine_batch=8), Arithmetic(every_third), report=reports.append)
    assert reports == sorted(reports)
    assert reports[-1] == 60


def test_a_run_that_is_stopped_stops() -> None:
    engine = Arithmetic()

    def stop(drawn: int) -> None:
        if drawn >= 16:
            raise JobStoppedError("The job was cancelled.")

    with pytest.raises(JobStoppedError):
        run(small([4000], engine_batch=8), engine, report=stop)
    assert len(engine.calls) <= 2 + BATCHES_AHEAD + BATCHES_ASKED


def test_a_failing_encoder_ends_the_run() -> None:
    class Broken(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future: Future[object] = Future()
            future.set_exception(MemoryError())
            return future

    with pytest.raises(MemoryError):
        run(small([100]), Arithmetic(), encoders=Broken())


def test_two_shards_share_encoders() -> None:
    plan = small([60, 60], 2, engine_batch=8)
    expected = [run(plan, Arithmetic(every_third), shard)[1] for shard in range(2)]
    found: dict[int, bytes] = {}
    with ThreadPoolExecutor(2) as encoders:

        def work(shard: int) -> None:
            found[shard] = run(plan, Arithmetic(every_third), shard, encoders)[1]

        threads = [threading.Thread(target=work, args=(shard,)) for shard in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert [found[0], found[1]] == expected
