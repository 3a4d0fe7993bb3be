"""The plan: exact, stratified, computed for any shard alone, however large the job."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.jobs.plan import Plan, apportion, shard_count
from tests.builders import plan_of

plans = st.builds(
    plan_of,
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
    st.integers(1, 40),
)


@settings(deadline=None, max_examples=100)
@given(plans)
def test_shards_partition_the_indices(plan: Plan) -> None:
    shards = [plan.shard(index) for index in range(plan.shards)]
    owned = [index for shard in shards for index in range(shard.first, shard.first + shard.size)]
    assert owned == list(range(plan.samples))
    assert [shard.first for shard in shards] == [plan.start(s) for s in range(plan.shards)]
    assert plan.start(plan.shards) == plan.samples


@settings(deadline=None, max_examples=100)
@given(plans)
def test_every_class_gets_exactly_what_was_asked(plan: Plan) -> None:
    made: Counter[int] = Counter()
    for index in range(plan.shards):
        made.update(plan.shard(index).cells.tolist())
    assert made == {k: cell.count for k, cell in enumerate(plan.cells)}
    assert sum(plan.samples_per_class.values()) == plan.samples


@settings(deadline=None, max_examples=100)
@given(plans)
def test_each_shard_holds_its_share_of_each_cell(plan: Plan) -> None:
    for index in range(plan.shards):
        shard = plan.shard(index)
        quotas = np.bincount(shard.cells, minlength=len(plan.cells))
        for cell, quota in zip(plan.cells, quotas, strict=True):
            share = Fraction(cell.count, plan.shards)
            assert math.floor(share) <= quota <= math.ceil(share)
        assert abs(shard.size - plan.samples / plan.shards) < len(plan.cells) + 1


@settings(deadline=None, max_examples=100)
@given(plans, st.data())
def test_every_prefix_of_a_shard_is_balanced(plan: Plan, data: st.DataObject) -> None:
    shard = plan.shard(data.draw(st.integers(0, plan.shards - 1)))
    assume(shard.size)
    quotas = np.bincount(shard.cells, minlength=len(plan.cells))
    length = data.draw(st.integers(1, shard.size))
    prefix = np.bincount(shard.cells[:length], minlength=len(plan.cells))
    share = quotas / shard.size
    assert np.all(np.abs(prefix - share * length) <= 0.5 + share * len(plan.cells) / 2 + 1e-9)


def test_many_small_cells_spread_over_all_shards() -> None:
    """1,000 classes of one sample in 100 shards: none empty, none overfull."""
    sizes = [plan_of([1] * 1000, 100).shard(index).size for index in range(100)]
    assert sum(sizes) == 1000
    assert min(sizes) >= 5
    assert max(sizes) <= 15


@settings(deadline=None, max_examples=100)
@given(plans, st.data())
def test_locate_is_the_inverse(plan: Plan, data: st.DataObject) -> None:
    sample = data.draw(st.integers(0, plan.samples - 1))
    shard, position = plan.locate(sample)
    found = plan.shard(shard)
    assert found.first + position == sample
    assert 0 <= position < found.size


@pytest.mark.parametrize("sample", [-1, 30])
def test_locate_refuses_what_is_not_planned(sample: int) -> None:
    with pytest.raises(IndexError):
        plan_of([10, 20], 3).locate(sample)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_are_no_other_shards(index: int) -> None:
    with pytest.raises(IndexError):
        plan_of([10, 20], 3).shard(index)


@settings(deadline=None, max_examples=50)
@given(plans)
def test_json_round_trip(plan: Plan) -> None:
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert np.array_equal(again.shard(plan.shards - 1).cells, plan.shard(plan.shards - 1).cells)


def test_a_hundred_million_samples_need_no_memory() -> None:
    plan = plan_of([100_000] * 1000, 20_000)
    tracemalloc.start()
    try:
        assert plan.samples == 10**8
        assert plan.start(20_000) == 10**8
        last = plan.shard(19_999)
        assert last.first + last.size == 10**8
        assert np.bincount(last.cells, minlength=1000).min() == 5
        shard, position = plan.locate(77_777_777)
        assert plan.shard(shard).first + position == 77_777_777
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_thousand_classes_of_one() -> None:
    plan = plan_of([1] * 1000, 1)
    assert sorted(plan.shard(0).cells.tolist()) == list(range(1000))
    assert len(plan.samples_per_class) == 1000


def test_equal_plans_cut_equally() -> None:
    one, other = plan_of([313, 40, 7], 9), plan_of([313, 40, 7], 9)
    for index in range(9):
        assert np.array_equal(one.shard(index).cells, other.shard(index).cells)


def largest_remainder(total: int, weights: list[int]) -> list[int]:
    """Hamilton's method by the textbook, on whole weights: quotas, then the rest by remainder."""
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    rests = [total * weight % whole for weight in weights]
    for _ in range(total - sum(parts)):
        best = max(range(len(weights)), key=lambda k: (rests[k], -k))
        parts[best] += 1
        rests[best] = -1
    return parts


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**9), st.lists(st.integers(0, 1000), min_size=1, max_size=16))
def test_apportion_is_the_largest_remainder_method(total: int, weights: list[int]) -> None:
    assume(any(weights))
    assert apportion(total, weights) == largest_remainder(total, weights)


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 10**12),
    st.lists(st.floats(0, 1e6, allow_subnormal=True), min_size=1, max_size=16),
)
def test_apportion_is_exact_for_any_weights(total: int, weights: list[float]) -> None:
    assume(any(weights))
    parts = apportion(total, weights)
    whole = sum(map(Fraction, weights))
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * Fraction(weight) / whole) < 1


@pytest.mark.parametrize("weights", [[], [0.0], [0, 0], [1, -1], [2, -1]])
def test_apportion_refuses_weights_without_a_share(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        apportion(10, weights)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 10**8), st.integers(1, 64 << 20), st.integers(1, 100_000))
def test_shards_are_bounded_in_samples_and_bytes(samples: int, bytes_: int, most: int) -> None:
    shards = shard_count(samples, bytes_, most)
    size = -(-samples // shards)
    assert size <= most
    assert size == 1 or size * bytes_ <= 64 << 20
    assert shards == 1 or (shards - 1) * size < samples
