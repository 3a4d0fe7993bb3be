"""Draws of many requests share their way to a worker, and each gets its own images."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from app.api.exchanges import UNDER_WAY, Exchanges
from app.errors import OverloadedError
from app.wire import Draw, Drawn

BATCH = 64


def draw(*values: int) -> Draw:
    """Latents whose first number is the value that the image will show."""
    z = np.array([[value, 0.0] for value in values], np.float32)
    return Draw("a" * 64, z, np.zeros(len(values), np.int64), BATCH, "float32", "request")


class Worker:
    """Answers once it is let; images show the first number of their latent."""

    def __init__(self) -> None:
        self.carried: list[int] = []
        self.began = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.fails: Exception | None = None

    def __call__(self, asked: Draw) -> Drawn:
        self.carried.append(len(asked.z))
        self.began.release()
        assert self.go.acquire(timeout=30)
        if self.fails:
            raise self.fails
        pixels = asked.z[:, 0].astype(np.uint8).reshape(-1, 1, 1, 1)
        return Drawn(pixels, np.ones(len(pixels), np.bool_))


def occupied(exchanges: Exchanges, worker: Worker, pool: ThreadPoolExecutor) -> list[Future[Drawn]]:
    """As many exchanges under way as there may be."""
    first = [pool.submit(exchanges.ask, draw(100 + number)) for number in range(UNDER_WAY)]
    for _ in first:
        assert worker.began.acquire(timeout=30)
    return first


def queued(exchanges: Exchanges, count: int) -> None:
    """Wait until so many draws are in the queue."""
    deadline = threading.Event()
    while len(exchanges._queue) < count:
        deadline.wait(0.001)


def test_who_comes_while_the_worker_is_busy_shares_the_next_exchange() -> None:
    worker = Worker()
    exchanges = Exchanges(worker)
    with ThreadPoolExecutor(16) as pool:
        first = occupied(exchanges, worker, pool)
        later = [pool.submit(exchanges.ask, draw(number, 50 + number)) for number in range(10)]
        queued(exchanges, 10)
        for _ in range(UNDER_WAY + 1):
            worker.go.release()
        shown = [future.result(30).pixels.ravel().tolist() for future in later]
        for future in first:
            future.result(30)
    assert shown == [[number, 50 + number] for number in range(10)]
    assert worker.carried == [1] * UNDER_WAY + [20]


def test_an_exchange_carries_no_more_than_the_device_takes_at_once() -> None:
    worker = Worker()
    exchanges = Exchanges(worker)
    with ThreadPoolExecutor(16) as pool:
        occupied(exchanges, worker, pool)
        later = [pool.submit(exchanges.ask, draw(*range(30))) for _ in range(5)]
        queued(exchanges, 5)
        for _ in range(UNDER_WAY + 3):
            worker.go.release()
        for future in later:
            assert future.result(30).pixels.ravel().tolist() == list(range(30))
    assert sorted(worker.carried[UNDER_WAY:]) == [30, 60, 60]


def test_an_exchange_that_fails_fails_for_all_it_carries_and_for_nobody_else() -> None:
    worker = Worker()
    exchanges = Exchanges(worker)
    with ThreadPoolExecutor(16) as pool:
        first = occupied(exchanges, worker, pool)
        later = [pool.submit(exchanges.ask, draw(number)) for number in range(3)]
        queued(exchanges, 3)
        worker.fails = OverloadedError("Too much.", retry_after_seconds=1)
        for _ in range(UNDER_WAY + 1):
            worker.go.release()
        for future in (*first, *later):
            with pytest.raises(OverloadedError):
                future.result(30)
        worker.fails = None
        worker.go.release()
        assert pool.submit(exchanges.ask, draw(7)).result(30).pixels.ravel().tolist() == [7]


def test_draws_of_a_model_without_labels_are_joined_too() -> None:
    worker = Worker()
    exchanges = Exchanges(worker)
    with ThreadPoolExecutor(16) as pool:
        occupied(exchanges, worker, pool)
        later = [pool.submit(exchanges.ask, draw(n)._replace(labels=None)) for n in range(3)]
        queued(exchanges, 3)
        for _ in range(UNDER_WAY + 1):
            worker.go.release()
        assert [future.result(30).pixels.item() for future in later] == [0, 1, 2]
