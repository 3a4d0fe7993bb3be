"""The benchmarks' clients, as the process that they are, against a server that does nothing."""

from __future__ import annotations

import pytest

from tests.benchmarks.clients import SEED, Task, ask
from tests.benchmarks.targets import echo


def test_they_are_answered() -> None:
    with echo(100) as port:
        load = ask(Task(port, "/", f'{{"seed": {SEED}}}', clients=3, seconds=0.3, warm_seconds=0.0))
    assert load.answers > 3
    assert load.refused == 0
    assert 0 < load.p50_ms <= load.p99_ms


def test_nobody_there_is_said() -> None:
    with echo(100) as port:
        pass
    with pytest.raises(RuntimeError, match="Connect"):
        ask(Task(port, "/", "{}", clients=1, seconds=0.1, warm_seconds=0.0))
