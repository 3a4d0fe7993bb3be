"""The embedded service is always stopped, whatever it or the command does."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli import embedded
from app.cli.embedded import embedded_service
from app.cli.failures import CommandError

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

SERVICE = """
import http.server, json, os, signal, subprocess, sys
folder = sys.argv[1]
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
{before}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write({ready})
    def log_message(self, *_): pass
def stop(*_):
    worker.kill()
    worker.wait()
    os._exit(0)
signal.signal(signal.SIGTERM, {on_term})
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
open(folder + "/api-key", "w").write("key\\n")
open(folder + "/pids", "w").write(f"{{os.getpid()}} {{worker.pid}}")
open(folder + "/environment", "w").write(json.dumps(dict(os.environ)))
url = f"http://127.0.0.1:{{server.server_port}}"
open(folder + "/part", "w").write(json.dumps({{"url": url, "pid": os.getpid()}}))
os.replace(folder + "/part", folder + "/server.json")
server.serve_forever()
"""

Stage = Callable[..., None]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Puts a small program in the place of `synthloom serve`."""

    def stage(before: str = "", on_term: str = "stop", workers: int = 1) -> None:
        ready = json.dumps({"status": "ready", "workers": workers}).encode()
        program = SERVICE.format(before=before, on_term=on_term, ready=ready)
        monkeypatch.setattr(
            embedded,
            "serve_command",
            lambda folder: [sys.executable, "-c", program, str(folder)],
        )

    return stage


class Started:
    """The processes of a service; `all_gone` waits for their end, not for time to pass."""

    def __init__(self, folder: Path) -> None:
        pids = [int(word) for word in (folder / "pids").read_text().split()]
        self._handles = [os.pidfd_open(pid) for pid in pids]

    def all_gone(self) -> bool:
        try:
            return all(select.select([handle], [], [], 20)[0] for handle in self._handles)
        finally:
            for handle in self._handles:
                os.close(handle)


def run_until(folder: Path, end: Callable[[], object]) -> Started:
    """Runs the service until `end` raises; the processes it had."""
    found: list[Started] = []
    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        _run(folder, found, end)
    return found[0]


def _run(folder: Path, found: list[Started], end: Callable[[], object]) -> None:
    with embedded_service(folder):
        found.append(Started(folder))
        end()


def test_it_runs_for_the_length_of_the_block(stage: Stage, tmp_path: Path) -> None:
    stage()
    with embedded_service(tmp_path) as running:
        assert running.api_key == "key"
        assert embedded.silence(running.url) == ""
        started = Started(tmp_path)
    assert started.all_gone()
    assert embedded.silence(running.url) == "connection refused"


def test_a_temporary_folder_is_removed(stage: Stage) -> None:
    stage()
    with embedded_service(None) as running:
        folder = running.data_folder
        assert folder.is_dir()
    assert not folder.exists()


def test_an_error_in_the_block_stops_it(stage: Stage, tmp_path: Path) -> None:
    stage()
    assert run_until(tmp_path, lambda: 1 / 0).all_gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_command_stops_it(
    stage: Stage, tmp_path: Path, number: signal.Signals
) -> None:
    stage()
    before = signal.getsignal(number)
    assert run_until(tmp_path, lambda: signal.raise_signal(number)).all_gone()
    assert signal.getsignal(number) is before


def test_a_service_that_does_not_stop_is_ended_with_its_workers(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.1)
    stage(on_term="signal.SIG_IGN")
    with embedded_service(tmp_path):
        started = Started(tmp_path)
    assert started.all_gone()


def test_a_service_that_stops_badly_leaves_no_workers(stage: Stage, tmp_path: Path) -> None:
    stage(on_term="signal.SIG_DFL")
    with embedded_service(tmp_path):
        started = Started(tmp_path)
    assert started.all_gone()


def test_a_service_that_ends_while_it_starts(stage: Stage, tmp_path: Path) -> None:
    stage(before="worker.kill(); sys.exit('No room on the disk.')")
    service = embedded_service(tmp_path)
    with pytest.raises(CommandError, match=r"ended while it started \(No room on the disk\.\)"):
        service.__enter__()


@pytest.mark.parametrize(("seconds", "workers"), [(0.0, 1), (2.0, 0)])
def test_a_service_that_never_gets_ready(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, workers: int
) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", seconds)
    stage(workers=workers)
    service = embedded_service(tmp_path)
    with pytest.raises(CommandError, match="did not get ready in time"):
        service.__enter__()


def test_settings_of_the_caller_that_say_where_do_not_reach_it(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHLOOM_DATABASE_URL", "postgresql://elsewhere")
    monkeypatch.setenv("SYNTHLOOM_API_KEY", "other")
    monkeypatch.setenv("SYNTHLOOM_ENGINE_BATCH", "64")
    monkeypatch.setenv("SYNTHLOOM_C2PA_KEY", "signer.key")
    stage()
    with embedded_service(tmp_path):
        environment = (tmp_path / "environment").read_text()
    assert "SYNTHLOOM_DATABASE_URL" not in environment
    assert "SYNTHLOOM_API_KEY" not in environment
    assert "SYNTHLOOM_ENGINE_BATCH" in environment
    assert json.loads(environment)["SYNTHLOOM_C2PA_KEY"] == str(Path("signer.key").absolute())
