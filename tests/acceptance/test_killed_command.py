"""A command that is killed takes the service with it that it had started for itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.harness import children_of, wait_for


def test_kill_9_of_generate_leaves_no_process_behind(tmp_path: Path) -> None:
    command = ["generate", "fashion-cgan", "--per-class", "5000", "--out", str(tmp_path / "out")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SYNTHLOOM_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", *command, "--data", str(tmp_path / "data")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        server = wait_for("the service", lambda: _server_pid(tmp_path / "data"), 60)
        [worker] = wait_for("its worker", lambda: children_of(server), 60)
    finally:
        process.kill()
        process.wait()
    wait_for("the end of the service", lambda: not _alive(server) and not _alive(worker), 60)


def _server_pid(data: Path) -> int | None:
    path = data / "server.json"
    return int(json.loads(path.read_text())["pid"]) if path.exists() else None


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
