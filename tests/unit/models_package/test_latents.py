"""Counter-based latents: the published generator, fixed values, and independence of the batch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.latents import CHUNK_WORDS, box_muller, normal

MODEL = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4

PUBLISHED = [
    # Random123, tests/kat_vectors, philox4x64-10: counter, key, output.
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (0xFFFFFFFFFFFFFFFF,) * 4,
        (0xFFFFFFFFFFFFFFFF,) * 2,
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


@pytest.mark.parametrize(("counter", "key", "output"), PUBLISHED)
def test_numpy_computes_the_published_philox(counter, key, output):
    position = sum(word << (64 * index) for index, word in enumerate(counter))
    stream = np.random.Philox(key=key[0] | key[1] << 64, counter=(position - 1) % 2**256)
    assert tuple(int(word) for word in stream.random_raw(4)) == output


def test_words_of_the_counter_are_block_shard_purpose():
    """Candidate 5 of shard 3, two blocks each: the normals of the block at (10, 3, 0, 0)."""
    position = 10 | 3 << 64
    stream = np.random.Philox(key=7 | int(MODEL[:16], 16) << 64, counter=position - 1)
    wanted = box_muller(stream.random_raw(8)).astype(np.float32)[:6]
    drawn = normal(seed=7, model=MODEL, shard=3, first=5, count=1, size=6)
    assert drawn.tobytes() == wanted.tobytes()


def test_fixed_values_never_change():
    drawn = normal(seed=7, model=MODEL, shard=3, first=5, count=2, size=6)
    assert drawn.dtype == np.float32
    # The bits of float32. A change here breaks every dataset that was ever drawn.
    assert drawn.view(np.uint32).tolist() == [
        [1058157123, 3217532434, 3208950647, 3206120098, 3200198157, 3196657402],
        [3208293175, 3212913606, 1051618832, 1071907428, 3204609411, 3199326255],
    ]


@settings(max_examples=60, deadline=None)
@given(
    first=st.integers(0, 2**40),
    count=st.integers(1, 300),
    size=st.integers(1, 130),
    data=st.data(),
)
def test_a_candidate_is_the_same_alone_and_in_any_range(first, count, size, data):
    whole = normal(seed=1, model=MODEL, shard=2, first=first, count=count, size=size)
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start, count))
    part = normal(seed=1, model=MODEL, shard=2, first=first + start, count=stop - start, size=size)
    assert whole[start:stop].tobytes() == part.tobytes()


def test_chunks_do_not_show():
    """More words than one chunk holds, whose size is no multiple of the candidate's."""
    count = 3 * CHUNK_WORDS // 100
    whole = normal(seed=1, model=MODEL, shard=0, first=0, count=count, size=100)
    alone = [
        normal(seed=1, model=MODEL, shard=0, first=c, count=1, size=100)[0]
        for c in range(0, count, 37)
    ]
    assert (whole[::37] == np.stack(alone)).all()


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2, "model": MODEL, "shard": 0, "first": 0},
        {"seed": 1, "model": OTHER, "shard": 0, "first": 0},
        {"seed": 1, "model": MODEL, "shard": 1, "first": 0},
        {"seed": 1, "model": MODEL, "shard": 0, "first": 5000},
    ],
)
def test_seeds_models_shards_and_candidates_are_independent(other):
    base = normal(seed=1, model=MODEL, shard=0, first=0, count=5000, size=8).ravel()
    fresh = normal(**other, count=5000, size=8).ravel()
    assert not np.isin(fresh, base).all()
    assert abs(np.corrcoef(base, fresh)[0, 1]) < 4 / np.sqrt(base.size)


def test_values_are_standard_normal():
    drawn = normal(seed=3, model=MODEL, shard=9, first=0, count=20_000, size=64)
    values = drawn.astype(np.float64)
    assert stats.kstest(values.ravel(), "norm").pvalue > 0.001
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    assert abs(values.var() - 1) < 4 * np.sqrt(2 / values.size)
    assert abs(stats.kurtosis(values.ravel())) < 4 * np.sqrt(24 / values.size)
    correlation = np.corrcoef(values, rowvar=False) - np.eye(64)
    assert np.abs(correlation).max() < 6 / np.sqrt(len(values))
    assert np.abs(drawn).max() > 4.5


def test_box_muller_agrees_with_the_library_functions():
    words = np.random.default_rng(0).integers(0, 2**64, 200_000, np.uint64, endpoint=False)
    extremes = np.array([0, 0, 2**64 - 1, 2**64 - 1, 0, 2**63, 2**64 - 1, 2**62], np.uint64)
    words = np.concatenate([extremes, words])
    u = ((words[0::2] >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53
    v = (words[1::2] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    radius = np.sqrt(-2 * np.log(u))
    wanted = np.stack([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)], axis=1)
    drawn = box_muller(words)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn, wanted.ravel(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"seed": 2**64}, {"shard": 2**64}, {"first": -1}, {"count": -1}, {"size": 0}],
)
def test_numbers_out_of_range_are_refused(wrong):
    right = {"seed": 1, "model": MODEL, "shard": 0, "first": 0, "count": 1, "size": 4}
    with pytest.raises(ValueError, match="must"):
        normal(**(right | wrong))


def test_no_candidates_give_an_empty_array():
    assert normal(seed=1, model=MODEL, shard=0, first=9, count=0, size=4).shape == (0, 4)


def test_the_largest_seed_and_shard_work():
    top = 2**64 - 1
    assert np.isfinite(normal(seed=top, model=MODEL, shard=top, first=0, count=2, size=4)).all()


def test_drawing_needs_no_torch():
    program = "import models.latents, models.spec, models.files, models.zoo.catalogue, sys;"
    program += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
