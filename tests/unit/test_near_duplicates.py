"""No two samples of a job look the same: within a shard, and across shards whatever their order."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.checks.duplicates import Seen, repeated
from app.checks.perceptual import perceptual_hashes
from app.checks.planned import PlannedChecks, PlannedDuplicates
from app.errors import DryClassError, JobTooLargeError
from app.jobs.plan import Plan
from tests.builders import image, plan_of, planned
from tests.shard_runs import SIDE, Painter, Ran, run


def unlike(distance: int = 0) -> PlannedChecks:
    return PlannedChecks(near_duplicates=PlannedDuplicates("phash", distance))


def checked(counts: list[int], shards: int = 1, distance: int = 0, **fields: Any) -> Plan:
    return plan_of(counts, shards, image=image(SIDE, SIDE), checks=unlike(distance), **fields)


def pictures(kinds: int) -> Painter:
    """One of so many pictures, whatever the label: most candidates are repeats."""
    pool = np.random.default_rng(5).integers(0, 256, (kinds, SIDE, SIDE, 1)).astype(np.uint8)
    return Painter(lambda digest, _: pool[int.from_bytes(digest[:4]) % kinds])


# The hash, by its definition


def slowly(pixels: NDArray[np.uint8]) -> int:
    """The hash of one image, number by number."""
    height, width, channels = pixels.shape
    grey = pixels.astype(int).sum(axis=2).tolist()

    def overlap(part: int, pixel: int, size: int) -> int:
        return max(0, min((part + 1) * size, (pixel + 1) * 32) - max(part * size, pixel * 32))

    levels = [
        [
            sum(
                grey[i][j] * overlap(y, i, height) * overlap(x, j, width)
                for i in range(height)
                for j in range(width)
            )
            * 256
            // (height * width * channels)
            for x in range(32)
        ]
        for y in range(32)
    ]
    waves = [
        [round(1024 * math.cos(math.pi * k * (2 * x + 1) / 64)) for x in range(32)]
        for k in range(8)
    ]
    rows = [
        [sum(w * v for w, v in zip(wave, row, strict=True)) for wave in waves] for row in levels
    ]
    low = [sum(waves[u][y] * rows[y][v] for y in range(32)) for u in range(8) for v in range(8)]
    middle = sum(sorted(low)[31:33]) / 2
    return int("".join("1" if value > middle else "0" for value in low), 2)


@pytest.mark.parametrize("shape", [(6, 6, 1), (5, 9, 3), (17, 12, 1), (1, 1, 4)])
def test_the_hash_is_what_it_is_defined_as(shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(3).integers(0, 256, (2, *shape)).astype(np.uint8)
    assert perceptual_hashes(images).tolist() == [slowly(pixels) for pixels in images]


def test_what_one_hardly_sees_hardly_changes_the_hash() -> None:
    random = np.random.default_rng(4)
    images = random.integers(20, 236, (50, 28, 28, 1)).astype(np.uint8)
    noisy = (images + random.integers(-2, 3, images.shape)).astype(np.uint8)
    apart = np.bitwise_count(perceptual_hashes(images) ^ perceptual_hashes(noisy))
    others = np.bitwise_count(perceptual_hashes(images)[:-1] ^ perceptual_hashes(images)[1:])
    assert np.median(apart) <= 2
    assert others.min() > 8


# Across shards


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 255), max_size=9, unique=True), min_size=1, max_size=5),
    st.integers(0, 3),
)
def test_the_earlier_sample_stays(values: list[list[int]], distance: int) -> None:
    shards = []
    for shard in values:  # as a shard leaves them: not near to one another
        kept: list[int] = []
        for value in shard:
            if all((value ^ other).bit_count() > distance for other in kept):
                kept.append(value)
        shards.append(kept)
    stays: list[int] = []
    expected: dict[int, list[int]] = {}
    for index, shard in enumerate(shards):
        mine = []
        for position, value in enumerate(shard):
            if any((value ^ other).bit_count() <= distance for other in stays):
                expected.setdefault(index, []).append(position)
            else:
                mine.append(value)
        stays += mine
    found = repeated([np.array(shard, np.uint64) for shard in shards], distance)
    assert {index: positions.tolist() for index, positions in found.items()} == expected


def settled(plan: Plan, engine: Painter, batch: int | None = None) -> tuple[list[Ran], int]:
    """All shards once nothing is near any more, and the rounds that it took."""
    barred: dict[int, list[NDArray[np.int64]]] = {index: [] for index in range(plan.shards)}
    rounds = 0
    while True:
        made = [run(plan, k, engine, 50.0, barred=tuple(barred[k])) for k in reversed(barred)]
        made.reverse()
        hashes = [ran.run.hashes for ran in made]
        assert plan.checks is not None
        assert plan.checks.near_duplicates is not None
        again = repeated([h for h in hashes if h is not None], plan.checks.near_duplicates.distance)
        if not again:
            return made, rounds
        rounds += 1
        for index in barred:
            barred[index].append(again.get(index, np.empty(0, np.int64)))


def test_exactly_n_of_which_no_two_are_alike() -> None:
    plan = checked([40, 25, 10], 3, engine_batch=8)
    made, rounds = settled(plan, pictures(150))
    assert rounds > 0
    rows = [row for ran in made for row in ran.rows]
    assert [row.sample for row in rows] == list(range(75))
    assert [sum(row.cell == k for row in rows) for k in range(3)] == [40, 25, 10]
    images = [pixels.tobytes() for ran in made for pixels in ran.images.values()]
    assert len(set(images)) == 75
    assert sum(ran.run.reasons["near-duplicate"] for ran in made) > 0


def test_near_ones_are_refused_too() -> None:
    made, _ = settled(checked([30], 2, distance=10), pictures(400))
    images = np.stack([pixels for ran in made for pixels in ran.images.values()])[..., None]
    hashes = perceptual_hashes(images).tolist()
    assert len(hashes) == 30
    assert min((one ^ other).bit_count() for one, other in combinations(hashes, 2)) > 10


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_the_batch_changes_nothing(batch: int) -> None:
    engine = pictures(120)
    expected, _ = settled(checked([30, 20], 2, engine_batch=16), engine)
    made, _ = settled(checked([30, 20], 2, engine_batch=batch), engine)
    for one, other in zip(made, expected, strict=True):
        assert one.chosen == other.chosen
        assert one.run.reasons == other.run.reasons


def test_what_is_not_barred_stays_as_it_was() -> None:
    plan, engine = checked([50], 1), pictures(300)
    before = dict(run(plan, 0, engine).chosen)
    barred = np.array([3, 17, 18])
    after = run(plan, 0, engine, barred=(barred,))
    for sample, candidate in after.chosen:
        assert (candidate == before[sample]) == (sample not in barred)
    assert len(after.images) == 50
    twice = run(plan, 0, engine, barred=(barred, np.array([17])))
    last = dict(twice.chosen)
    assert {k: c for k, c in last.items() if k != 17} == {k: c for k, c in after.chosen if k != 17}
    assert last[17] > dict(after.chosen)[17]


def test_fewer_pictures_than_samples_run_dry() -> None:
    with pytest.raises(DryClassError) as dry:
        run(checked([30]), engine=pictures(20))
    assert dry.value.members["missing"] == {"class-0": 30 - 20}
    assert dry.value.members["refused"]["near-duplicate"] > 0
    assert "near_duplicates" in dry.value.detail


@pytest.mark.parametrize("distance", [0, 2])
def test_what_was_seen_is_known_however_much_it_is(distance: int) -> None:
    seen = Seen(distance)
    for value in range(0, 3000 << 8, 1 << 8):
        seen.add(value)
    assert seen.has_near(0)
    assert seen.has_near(2999 << 8)
    assert not seen.has_near((2999 << 8) + 0b111)
    assert seen.has_near((2999 << 8) + 0b11) == (distance > 0)


# What may be asked for


def ask(near: Any, count: int = 3) -> PlannedChecks | None:
    body = {"model": "maker", "samples_per_class": count, "checks": {"near_duplicates": near}}
    return planned(body).checks


def test_true_stands_for_the_usual_distance() -> None:
    assert ask(True) == ask({}) == ask({"distance": 0}) == unlike()
    assert ask({"distance": 5}) == unlike(5)
    assert ask(False) is None


def test_too_many_to_be_compared_are_refused() -> None:
    with pytest.raises(JobTooLargeError, match="200000"):
        ask({"distance": 1}, 30_000)
    assert ask(True, 30_000) == unlike()
