"""Draws of many requests share their way to a worker, and each gets its own images."""

from __future__ import annotations

import asyncio

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


def shown(drawn: Drawn) -> list[int]:
    """The values of the images."""
    return [int(value) for value in drawn.pixels.ravel()]


class Worker:
    """Answers once it is let; images show the first number of their latent."""

    def __init__(self) -> None:
        self.carried: list[int] = []
        self.open = asyncio.Event()
        self.fails: Exception | None = None

    async def __call__(self, asked: Draw) -> Drawn:
        self.carried.append(len(asked.z))
        await self.open.wait()
        if self.fails:
            raise self.fails
        pixels = asked.z[:, 0].astype(np.uint8).reshape(-1, 1, 1, 1)
        return Drawn(pixels, np.ones(len(pixels), np.bool_))


async def asked(exchanges: Exchanges, *draws: Draw) -> list[asyncio.Task[Drawn]]:
    """Everybody asks, and the worker has what it takes."""
    tasks = []
    for each in draws:
        tasks.append(asyncio.create_task(exchanges.ask(each)))
        for _ in range(3):
            await asyncio.sleep(0)
    return tasks


def test_who_comes_while_the_worker_is_busy_shares_the_next_exchange() -> None:
    async def run() -> None:
        worker = Worker()
        exchanges = Exchanges(worker)
        first = await asked(exchanges, *(draw(100 + number) for number in range(UNDER_WAY)))
        later = await asked(exchanges, *(draw(number, 50 + number) for number in range(10)))
        worker.open.set()
        assert [shown(await task) for task in later] == [[n, 50 + n] for n in range(10)]
        assert [shown(await task) for task in first] == [[100 + n] for n in range(UNDER_WAY)]
        assert worker.carried == [1] * UNDER_WAY + [20]

    asyncio.run(run())


def test_an_exchange_carries_no_more_than_the_device_takes_at_once() -> None:
    async def run() -> None:
        worker = Worker()
        exchanges = Exchanges(worker)
        await asked(exchanges, *(draw(number) for number in range(UNDER_WAY)))
        later = await asked(exchanges, *(draw(*range(30)) for _ in range(5)))
        worker.open.set()
        assert [shown(await task) for task in later] == [list(range(30))] * 5
        assert sorted(worker.carried[UNDER_WAY:]) == [30, 60, 60]

    asyncio.run(run())


def test_an_exchange_that_fails_fails_for_all_it_carries_and_for_nobody_else() -> None:
    async def run() -> None:
        worker = Worker()
        exchanges = Exchanges(worker)
        first = await asked(exchanges, *(draw(number) for number in range(UNDER_WAY)))
        later = await asked(exchanges, *(draw(number) for number in range(3)))
        worker.fails = OverloadedError("Too much.", retry_after_seconds=1)
        worker.open.set()
        for task in (*first, *later):
            with pytest.raises(OverloadedError):
                await task
        worker.fails = None
        assert shown(await exchanges.ask(draw(7))) == [7]

    asyncio.run(run())


def test_draws_of_a_model_without_labels_are_joined_too() -> None:
    async def run() -> None:
        worker = Worker()
        exchanges = Exchanges(worker)
        await asked(exchanges, *(draw(number) for number in range(UNDER_WAY)))
        later = await asked(exchanges, *(draw(n)._replace(labels=None) for n in range(3)))
        worker.open.set()
        assert [shown(await task) for task in later] == [[0], [1], [2]]

    asyncio.run(run())


def test_who_has_left_is_not_drawn_for() -> None:
    async def run() -> None:
        worker = Worker()
        exchanges = Exchanges(worker)
        first = await asked(exchanges, *(draw(number) for number in range(UNDER_WAY)))
        gone, stays = await asked(exchanges, draw(8), draw(9))
        gone.cancel()
        await asyncio.sleep(0)
        worker.open.set()
        assert shown(await stays) == [9]
        await asyncio.gather(*first)
        assert worker.carried == [1] * UNDER_WAY + [1]

    asyncio.run(run())


def test_who_asks_while_the_carriers_end_is_carried() -> None:
    """A worker that answers at once: an answer is read before its exchange is seen to be over."""

    async def at_once(asked: Draw) -> Drawn:
        pixels = asked.z[:, 0].astype(np.uint8).reshape(-1, 1, 1, 1)
        return Drawn(pixels, np.ones(len(pixels), np.bool_))

    async def run() -> None:
        exchanges = Exchanges(at_once)

        async def ask_again_and_again(value: int) -> None:
            for _ in range(20):
                assert shown(await exchanges.ask(draw(value))) == [value]

        asking = asyncio.gather(*(ask_again_and_again(value) for value in range(UNDER_WAY + 1)))
        await asyncio.wait_for(asking, 10)

    asyncio.run(run())
