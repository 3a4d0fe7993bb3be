"""kill -9 of a training's process and of its worker, again and again: one model, the same weights.

`make soak` runs it.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import Server, children_of, end, follow_run, serving, wait_for
from tests.shapes import upload_shapes

KILLS = int(os.environ.get("SOAK_TRAINING_KILLS", "6"))
SETTINGS = {"heartbeat_seconds": 0.3, "lease_seconds": 2.0, "run_attempts": 1_000}


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_a_training_survives_kills_to_the_bit(tmp_path: Path, database_url: str) -> None:
    chance = random.Random(KILLS)
    with (
        serving(tmp_path, database_url=database_url, **SETTINGS) as server,
        server.client() as client,
    ):
        dataset = upload_shapes(client)
        calm = follow_run(client, _ask(client, dataset))
        disturbed = _ask(client, dataset)
        for _ in range(KILLS):
            step = _step(client, disturbed)
            wait_for("a snapshot", lambda s=step: _step(client, disturbed) >= s + 20, 120, 0.1)
            end(chance.choice([*_workers(server), *_processes(server)]))
        ended = follow_run(client, disturbed)
        assert (calm["model"], ended["model"]) == ("shapes@1.0.0", "shapes@1.1.0")
        assert ended["attempts"] > 1
        first, second = (client.get(run["links"]["model"]).json() for run in (calm, ended))
        assert first["spec"]["weights"] == second["spec"]["weights"]
        assert len(client.get("/v1/models/shapes/versions").json()["versions"]) == 2
        wait_for("its last process", lambda: not _processes(server))


def _ask(client: httpx.Client, dataset: str) -> dict[str, Any]:
    body = {
        "architecture": "cvae",
        "dataset": dataset,
        "name": "shapes",
        "steps": 300 + 60 * KILLS,
        "snapshot_steps": 10,
        "validation": 0,
        "seed": 3,
        "options": {"base": 4},
        "recipe": {"batch_size": 16},
        "accept_degenerate": True,
    }
    answer = client.post("/v1/trainings", json=body)
    assert answer.status_code == 202, answer.text
    view: dict[str, Any] = answer.json()
    return view


def _step(client: httpx.Client, view: dict[str, Any]) -> int:
    return client.get(view["links"]["self"]).json()["progress"]["step"] or 0


def _workers(server: Server) -> list[int]:
    return server.children()


def _processes(server: Server) -> list[int]:
    return [pid for worker in server.children() for pid in children_of(worker)]
