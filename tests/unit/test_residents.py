"""Resident models: loaded once, evicted by bytes, never while in use."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.engine.residents import Loader as Load
from app.engine.residents import Residents
from models.generator import Generator
from tests.builders import image


class Sized(Generator):
    """A generator of so many float32 parameters, and as many float32 in a buffer."""

    family = "gan"
    value_range = (-1.0, 1.0)

    def __init__(self, floats: int = 1) -> None:
        super().__init__(image(2, 2), 4, 0)
        self.weight = torch.nn.Parameter(torch.zeros(floats))
        self.register_buffer("steady", torch.zeros(floats))

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return torch.zeros(len(z), 1, 2, 2)


class Loader:
    """Counts the loads of each model; sizes by name, in units of 8 bytes."""

    def __init__(self, **floats: int) -> None:
        self.loads: Counter[str] = Counter()
        self._floats = floats

    def __call__(self, sha256: str) -> Generator:
        self.loads[sha256] += 1
        return Sized(self._floats.get(sha256, 1))


def residents_of(load: Load, budget_bytes: int) -> Residents:
    return Residents(load, budget_bytes, lambda: None)


def use(residents: Residents, *names: str) -> None:
    for name in names:
        with residents.use(name):
            pass


def test_a_model_is_loaded_once() -> None:
    load = Loader()
    residents = residents_of(load, 1 << 20)
    with residents.use("a") as first, residents.use("a") as second:
        assert first is second
    use(residents, "a", "b", "a")
    assert load.loads == {"a": 1, "b": 1}


def test_the_least_recently_used_leaves_first_by_bytes() -> None:
    load = Loader(a=10, b=10, c=10, large=20)
    residents = residents_of(load, 30 * 8)
    use(residents, "a", "b", "c", "a")
    assert residents.loaded == ["b", "c", "a"]
    use(residents, "large")
    assert residents.loaded == ["a", "large"]
    use(residents, "b")
    assert residents.loaded == ["large", "b"]
    assert load.loads == {"a": 1, "b": 2, "c": 1, "large": 1}


def test_a_model_in_use_never_leaves() -> None:
    residents = residents_of(Loader(a=10, b=10, c=10), 8)
    with ExitStack() as stack:
        kept = stack.enter_context(residents.use("a"))
        use(residents, "b", "c")
        assert residents.loaded == ["a"]
        assert stack.enter_context(residents.use("a")) is kept
    assert residents.loaded == []


def test_a_model_larger_than_the_budget_still_works() -> None:
    load = Loader(a=1000)
    residents = residents_of(load, 1)
    use(residents, "a", "a")
    assert load.loads["a"] == 2


def test_threads_that_ask_at_once_share_one_load() -> None:
    threads = 16
    at_once, slow = threading.Barrier(threads), threading.Event()
    loads = Loader()

    def load(sha256: str) -> Generator:
        assert slow.wait(10)
        return loads(sha256)

    residents = residents_of(load, 1 << 20)

    def ask(_: int) -> Generator:
        at_once.wait(10)
        with residents.use("a") as generator:
            return generator

    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(ask, k) for k in range(threads)]
        slow.set()
        assert len({id(future.result(10)) for future in asked}) == 1
    assert loads.loads["a"] == 1


def test_a_slow_load_holds_up_no_other_model() -> None:
    began, may_end = threading.Event(), threading.Event()

    def load(sha256: str) -> Generator:
        if sha256 == "slow":
            began.set()
            assert may_end.wait(10)
        return Sized()

    residents = residents_of(load, 1 << 20)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(use, residents, "slow")
        assert began.wait(10)
        use(residents, "quick")
        assert not slow.done()
        may_end.set()
        slow.result(10)
    assert residents.loaded == ["quick", "slow"]


def test_a_failing_load_fails_all_who_wait_and_can_be_tried_again() -> None:
    threads = 8
    at_once = threading.Barrier(threads)
    attempts: Counter[str] = Counter()
    broken = True

    def load(sha256: str) -> Generator:
        attempts[sha256] += 1
        if broken:
            raise OSError("the disk is away")
        return Sized()

    residents = residents_of(load, 1 << 20)

    def ask(_: int) -> str:
        at_once.wait(10)
        try:
            use(residents, "a")
        except OSError as error:
            return str(error)
        return "loaded"

    with ThreadPoolExecutor(threads) as pool:
        assert set(pool.map(ask, range(threads))) == {"the disk is away"}
    assert residents.loaded == []
    broken = False
    use(residents, "a")
    assert residents.loaded == ["a"]


def test_a_failure_inside_the_block_releases_the_model() -> None:
    residents = residents_of(Loader(a=10), 1)
    with pytest.raises(RuntimeError), residents.use("a"):
        raise RuntimeError
    assert residents.loaded == []


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.integers(0, 400))
def test_the_budget_holds_whenever_nothing_runs(asked: list[str], budget: int) -> None:
    sizes = {"a": 1, "b": 2, "c": 4, "d": 8, "e": 16, "f": 32}
    residents = residents_of(Loader(**sizes), budget)
    for name in asked:
        use(residents, name)
        assert sum(sizes[kept] * 8 for kept in residents.loaded) <= budget


def test_many_threads_and_a_small_budget() -> None:
    residents = residents_of(Loader(a=5, b=5, c=5), 10 * 8)
    names = "abcabcbca" * 20

    def ask(name: str) -> bool:
        with residents.use(name) as generator:
            return isinstance(generator, Sized)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, names))
    assert len(residents.loaded) <= 2
