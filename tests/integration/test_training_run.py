"""A training by a real worker: its process is killed on the way, and the model is the same."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.harness import Server, children_of, end, follow_run, wait_for
from tests.shapes import SHAPES, upload_shapes

pytestmark = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
"""The server of the whole run; one kind of database is enough here."""


@pytest.fixture(scope="module")
def dataset(server: Server) -> str:
    with server.client() as client:
        return upload_shapes(client)


STEPS = 400
"""Enough that a process is still at it when it is killed after the first twenty."""


def ask(http: httpx.Client, dataset: str, **changes: Any) -> dict[str, Any]:
    body = {
        "architecture": "cvae",
        "dataset": dataset,
        "name": "shapes",
        "steps": STEPS,
        "snapshot_steps": 10,
        "validation": 0,
        "seed": 3,
        "options": {"base": 4},
        "recipe": {"batch_size": 16},
        "accept_degenerate": True,
    }
    answer = http.post("/v1/trainings", json=body | changes)
    assert answer.status_code == 202, answer.text
    view: dict[str, Any] = answer.json()
    return view


def processes(server: Server) -> list[int]:
    """Pids of the attempts of a server's workers."""
    return [pid for worker in server.children() for pid in children_of(worker)]


def test_a_training_becomes_a_model_also_when_its_process_is_killed(
    server: Server, http: httpx.Client, dataset: str
) -> None:
    calm = follow_run(http, ask(http, dataset))
    assert calm["state"] == "succeeded", calm["problem"]
    assert (calm["model"], calm["attempts"], calm["progress"]["step"]) == ("shapes@1.0.0", 1, STEPS)
    disturbed = ask(http, dataset)
    wait_for("a snapshot", lambda: _step(http, disturbed) >= 20, 120, pause=0.1)
    [child] = processes(server)
    end(child)
    ended = follow_run(http, disturbed)
    assert (ended["state"], ended["model"]) == ("succeeded", "shapes@1.1.0"), ended["problem"]
    assert ended["attempts"] == 2
    first, second = (http.get(run["links"]["model"]).json() for run in (calm, ended))
    assert first["spec"]["weights"] == second["spec"]["weights"]
    assert first["spec"]["training"]["recipe"] == second["spec"]["training"]["recipe"]
    assert second["classes"] == list(SHAPES)
    assert len(http.get("/v1/models/shapes/versions").json()["versions"]) == 2
    _check_what_stays(server, http, ended)
    for run in (calm, ended):  # other tests list the models of this server
        assert http.delete(run["links"]["model"]).status_code == 204


def _check_what_stays(server: Server, http: httpx.Client, run: dict[str, Any]) -> None:
    grid = Image.open(io.BytesIO(http.get(run["links"]["grid"]).content))
    assert grid.size == (10 * 10, 2 * 10)  # two classes, ten samples each, a pixel about each
    curves = http.get(run["links"]["curves"]).json()["curves"]
    assert curves["reconstruction"]["step"][-1] == STEPS
    folder = server.data_dir / "objects" / "runs" / run["id"]
    wait_for("the sweep", lambda: _names(folder) == {"child.log", "grid.png", "curves.json"})


@pytest.mark.soak  # with a process that only counts: test_runs.py
def test_a_running_training_is_cancelled_and_leaves_nothing(
    server: Server, http: httpx.Client, dataset: str
) -> None:
    view = ask(http, dataset, name="unwanted", steps=1_000_000)
    wait_for("a step", lambda: _step(http, view) >= 1, 120, pause=0.1)
    assert http.post(view["links"]["cancel"]).json()["state"] == "cancelled"
    wait_for("the end of its process", lambda: not processes(server))
    folder = server.data_dir / "objects" / "runs" / view["id"]
    wait_for("an empty folder", lambda: not folder.exists())
    assert http.get("/v1/models/unwanted").status_code == 404


def _step(http: httpx.Client, view: dict[str, Any]) -> int:
    return http.get(view["links"]["self"]).json()["progress"]["step"] or 0


def _names(folder: Path) -> set[str]:
    return {name for _, _, names in os.walk(folder) for name in names}
