"""`POST /v1/samples` under load and alone, over the bare forward pass and over other servers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.clients import Load, Task, ask
from tests.benchmarks.networks import CONVOLUTIONAL, OVERHEAD_BOUND, Network, checkpoint
from tests.benchmarks.report import spread
from tests.benchmarks.targets import BATCH, REQUEST, RIVALS, Open, Target, echo, synthloom

CLIENTS = 64
LONE_SECONDS = 3.0
BARE_SECONDS = 2.0
OURS = "synthloom"
NETWORKS: Mapping[str, Network] = {"": CONVOLUTIONAL, "_overhead_bound": OVERHEAD_BOUND}
"""Suffix of the figures → network."""


@dataclass(frozen=True)
class Round:
    """One server, measured once, right after the bare forward pass."""

    bare: float
    """Samples a second."""
    bare_lone_ms: float
    load: Load
    lone: Load

    def __str__(self) -> str:
        return (
            f"{self.of_bare:.3f} of bare ({self.bare:,.0f} samples/s), "
            f"{self.load.requests_per_second:.1f} requests/s, p99 {self.load.p99_ms:.0f} ms, "
            f"refused {self.load.refused}; alone {self.lone.p50_ms:.1f} ms, "
            f"bare {self.bare_lone_ms:.1f} ms"
        )

    @property
    def of_bare(self) -> float:
        """Share of the bare forward pass's samples a second that came through."""
        return self.load.requests_per_second * REQUEST / self.bare


def measure(
    rivals: bool, rounds: int, seconds: float, say: Callable[[str], None]
) -> Iterator[dict[str, float]]:
    """Ceiling of the clients, then Synthloom (and the rivals by turns) with each network.

    Every process computes with one thread, which leaves a core to HTTP and to who asks.
    """
    with one_thread():
        yield _ceiling()
        servers: dict[str, Open] = {OURS: synthloom}
        if rivals:
            for name, rival in RIVALS.items():
                if rival.install():
                    servers[name] = rival.open
                else:
                    say(f"{name} is absent: {rival.requirement} could not be installed")
        for suffix, network in NETWORKS.items():
            with tempfile.TemporaryDirectory(prefix="synthloom-bench-") as name:
                plan = _Plan(Path(name), network, suffix, rounds, seconds, say)
                yield from plan.run(servers)


@dataclass(frozen=True)
class _Plan:
    """One network on every server, by turns."""

    folder: Path
    network: Network
    suffix: str
    rounds: int
    seconds: float
    say: Callable[[str], None]

    def run(self, servers: Mapping[str, Open]) -> Iterator[dict[str, float]]:
        """Figures, once all rounds are through. A rival that fails is left out, and said so."""
        found: dict[str, list[Round]] = {name: [] for name in servers}
        weights = checkpoint(self.folder, self.network)
        for number in range(self.rounds):
            for server in list(found):
                try:
                    found[server].append(self._once(server, servers[server], weights, number))
                except Exception as error:
                    if server == OURS:
                        raise
                    del found[server]
                    self.say(f"{server} is left out: {type(error).__name__}: {error}")
        yield _ours(found[OURS], self.suffix)
        rivals = [name for name in found if name != OURS]
        for server in rivals:
            yield _against(server, found, self.suffix)
        if rivals:
            yield _tails(found, self.suffix)

    def _once(self, server: str, opened: Open, weights: Path, number: int) -> Round:
        with opened(self.network, weights, self.folder / f"{server}-{number}") as target:
            target.check(self.network)
            measured = _round(target, weights, self.seconds)
        self.say(f"{server}, {self.network.name}, round {number + 1}: {measured}")
        return measured


def _round(target: Target, weights: Path, seconds: float) -> Round:
    bare, bare_lone_ms = _bare(weights)
    return Round(
        bare, bare_lone_ms, _load(target, CLIENTS, seconds), _load(target, 1, LONE_SECONDS)
    )


def _load(target: Target, clients: int, seconds: float) -> Load:
    headers = dict(target.headers)
    return ask(Task(target.port, target.path, target.body, clients, seconds, headers=headers))


def _ours(rounds: Sequence[Round], suffix: str) -> dict[str, float]:
    shares = [found.of_bare for found in rounds]
    more = [found.lone.p50_ms - found.bare_lone_ms for found in rounds]
    lone = f"lone_request_ms_over_bare{suffix}"
    return {
        **spread(f"sync_over_bare{suffix}", shares, statistics.median(shares)),
        **spread(lone, more, statistics.median(more)),
        f"bare_samples_per_second{suffix}": statistics.median(r.bare for r in rounds),
        **_loads("sync", rounds, suffix),
    }


def _against(server: str, found: Mapping[str, Sequence[Round]], suffix: str) -> dict[str, float]:
    ratios = [
        ours.load.requests_per_second / theirs.load.requests_per_second
        for ours, theirs in zip(found[OURS], found[server], strict=True)
    ]
    shares = [theirs.of_bare for theirs in found[server]]
    return {
        **spread(f"sync_over_{server}{suffix}", ratios, statistics.median(ratios)),
        f"{server}_over_bare{suffix}": statistics.median(shares),
        **_loads(server, found[server], suffix),
    }


def _loads(server: str, rounds: Sequence[Round], suffix: str) -> dict[str, float]:
    median = statistics.median
    return {
        f"{server}_requests_per_second{suffix}": median(r.load.requests_per_second for r in rounds),
        f"{server}_p50_ms{suffix}": median(r.load.p50_ms for r in rounds),
        f"{server}_p99_ms{suffix}": median(r.load.p99_ms for r in rounds),
        f"{server}_lone_p50_ms{suffix}": median(r.lone.p50_ms for r in rounds),
        f"{server}_refused{suffix}": float(sum(r.load.refused for r in rounds)),
    }


def _tails(found: Mapping[str, Sequence[Round]], suffix: str) -> dict[str, float]:
    """Our p99 over the lowest p99 of a rival."""
    tails = {name: statistics.median(r.load.p99_ms for r in found[name]) for name in found}
    lowest = min(tails[name] for name in found if name != OURS)
    return {f"sync_p99_over_best_rival{suffix}": tails[OURS] / lowest}


def _ceiling() -> dict[str, float]:
    """Requests a second of the clients against a server that does nothing."""
    network = CONVOLUTIONAL
    size = REQUEST * network.side * network.side * network.channels
    with echo(size) as port:
        load = ask(Task(port, "/", "{}", CLIENTS, BARE_SECONDS, warm_seconds=0.5))
    return {"clients_ceiling_requests_per_second": load.requests_per_second}


def _bare(weights: Path) -> tuple[float, float]:
    arguments = [str(weights), str(BATCH), str(REQUEST), str(BARE_SECONDS)]
    command = [sys.executable, "-m", "tests.benchmarks.bare_forward", *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    full, lone_ms = printed.split()
    return float(full), float(lone_ms)


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes that are started meanwhile compute with one thread."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
