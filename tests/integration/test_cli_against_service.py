"""The command line and the real service, over the loopback interface."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from app.cli.embedded import Running, embedded_service
from app.cli.main import app
from app.client import Client
from app.client_types import JobRequest, JobState
from app.datasets.verify import verify

ROOT = Path(__file__).parents[2]
MODEL = "fashion-cgan"


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "app.cli", *map(str, arguments)]


def environment(**settings: str) -> dict[str, str]:
    """The environment of a user who has set nothing but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNTHLOOM_")}
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "dumb"} | settings


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with embedded_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.url, running.api_key) as client:
        yield client


class Done(NamedTuple):
    """What has come of a command."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """Runs commands in an empty folder, as somebody who set the data folder and nothing else."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.settings = {"SYNTHLOOM_DATA_DIR": str(data), "SYNTHLOOM_PORT": "9"}

    def run(self, *arguments: str | Path) -> Done:
        """In this process; those where another one matters are started."""
        words = [str(argument) for argument in arguments]
        others: dict[str, str | None] = {k: None for k in os.environ if k.startswith("SYNTHLOOM_")}
        with chdir(self.folder):
            result = CliRunner().invoke(app, words, env=others | {"TERM": "dumb"} | self.settings)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(*arguments),
            cwd=self.folder,
            env=environment(**self.settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def shell(running: Running, tmp_path: Path) -> Shell:
    return Shell(tmp_path, running.data_folder)


def test_generate_delivers_exactly_what_was_asked(shell: Shell) -> None:
    quotas = ["--class", "bag=5", "--class", "ankle-boot=2"]
    done = shell.run("generate", MODEL, *quotas, "--seed", "7", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    delivered = {one["class"]: one["delivered"] for one in found["classes"]}
    assert delivered == {"bag": 5, "ankle-boot": 2}
    assert (found["seed"], found["verified"]) == (7, True)
    assert len(list((shell.folder / "out" / "bag").glob("*.png"))) == 5
    assert shell.run("verify", "out").returncode == 0


def test_the_same_seed_gives_the_same_bytes(shell: Shell) -> None:
    arguments = ["generate", MODEL, "--per-class", "3", "--json"]
    first, again, other = (
        json.loads(shell.run(*arguments, "--seed", seed, "--out", out).stdout)
        for seed, out in [("11", "a"), ("11", "b"), ("12", "c")]
    )
    assert first["job"] != again["job"]
    assert first["archive_sha256"] == again["archive_sha256"] != other["archive_sha256"]


def test_a_job_after_the_fact(shell: Shell, client: Client) -> None:
    job = client.wait(client.submit({"model": MODEL, "samples_per_class": {"coat": 4}}))
    assert job.id in shell.run("jobs", "list").stdout
    assert "succeeded" in shell.run("jobs", "show", job.id).stdout
    assert shell.run("jobs", "download", job.id, "--out", "a.zip").returncode == 0
    archive = job.archive("imagefolder")
    assert archive is not None
    content = (shell.folder / "a.zip").read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (archive.bytes, archive.sha256)
    assert shell.run("verify", "a.zip").returncode == 0
    assert shell.run("jobs", "cancel", job.id).returncode == 1


def test_a_download_goes_on_where_it_broke(client: Client, tmp_path: Path) -> None:
    job = client.wait(client.submit({"model": MODEL, "samples_per_class": 20, "seed": 3}))
    whole = client.download(job, "imagefolder", tmp_path / "whole.zip")
    content = whole.path.read_bytes()
    part = tmp_path / f".again.zip.{whole.sha256[:16]}.part"
    part.write_bytes(content[: len(content) // 2])
    again = client.download(job, "imagefolder", tmp_path / "again.zip")
    assert again.path.read_bytes() == content
    assert not part.exists()


def test_the_manifest_lists_every_file_of_the_archive(client: Client, tmp_path: Path) -> None:
    job = client.wait(client.submit({"model": MODEL, "samples_per_class": {"bag": 7, "coat": 4}}))
    archive = client.download(job, "imagefolder", tmp_path / "a.zip")
    assert verify(archive.path).delivered == {"bag": 7, "coat": 4}
    pages = list(client.manifest(job, page_size=4))
    assert [len(page) for page in pages] == [4, 4, 3]
    rows = [row for page in pages for row in page]
    assert [row.index for row in rows] == list(range(11))
    assert {row.class_name for row in rows} == {"bag", "coat"}
    bags = [row for page in client.manifest(job, "bag") for row in page]
    assert [row.file.split("/")[0] for row in bags] == ["bag"] * 7


def test_an_idempotency_key_gives_the_same_job(client: Client) -> None:
    request: JobRequest = {"model": MODEL, "samples_per_class": {"bag": 1}}
    first = client.submit(request, idempotency_key="only-once")
    again = client.submit(request, idempotency_key="only-once")
    assert first.id == again.id


def test_an_estimate_is_the_job(client: Client) -> None:
    request: JobRequest = {"model": MODEL, "samples_per_class": {"bag": 12}, "seed": 5}
    estimate = client.estimate(request)
    assert (estimate.samples, estimate.samples_per_class) == (12, {"bag": 12})
    assert estimate.archive_bytes > 0


def test_models(shell: Shell) -> None:
    assert MODEL in shell.run("models", "list").stdout
    spec = json.loads(shell.run("models", "show", MODEL, "--json").stdout)
    assert len(spec["classes"]) == 10
    assert spec["spec"]["name"] == MODEL
    assert shell.run("models", "preview", MODEL, "--out", "sheet.png").returncode == 0
    assert (shell.folder / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "no-such-model", "--per-class", "1", "--out", "out"],
        ["generate", MODEL, "--class", "hat=1", "--out", "out"],
        ["generate", MODEL, "--class", "../x=1", "--out", "out"],
        ["generate", MODEL, "--samples", "1", "--out", "out"],
        ["generate", MODEL, "--per-class", "1000000000000", "--out", "out"],
        ["jobs", "show", "job_nowhere"],
        ["models", "show", "../jobs"],
        ["models", "list", "--api-key", "wrong"],
    ],
)
def test_refusals_are_one_sentence_and_exit_code_2(shell: Shell, arguments: list[str]) -> None:
    done = shell.run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert list(shell.folder.iterdir()) == []


def test_ctrl_c_cancels_a_long_job(shell: Shell, client: Client) -> None:
    with shell.start("generate", MODEL, "--per-class", "200000", "--out", "out") as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        job = first.split()[0]
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    assert process.returncode == 130, first + rest
    assert f"job {job} is cancelled and nothing was written" in rest
    assert client.job(job).state is JobState.CANCELLED
    assert list(shell.folder.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_without_a_service_one_runs_for_the_command(tmp_path: Path) -> None:
    data = tmp_path / "data"
    shell = Shell(tmp_path, data)
    with shell.start("generate", MODEL, "--per-class", "2", "--out", "out") as process:
        assert process.stderr is not None
        lines = [process.stderr.readline(), process.stderr.readline()]
        server = os.pidfd_open(json.loads((data / "server.json").read_text())["pid"])
        out, rest = process.communicate()
    assert process.returncode == 0, [*lines, rest]
    assert select.select([server], [], [], 20)[0], "the service is still running"
    os.close(server)
    assert "No service is running" in lines[0]
    assert ["total", "20", "20"] in [line.split() for line in out.splitlines()]
    assert verify(tmp_path / "out").ok
    assert not (data / "server.json").exists()


def test_ctrl_c_stops_the_service_of_the_command(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tmp_path / "data")
    with shell.start("generate", MODEL, "--per-class", "200000", "--out", "out") as process:
        assert process.stderr is not None
        lines = [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    assert process.returncode == 130, "".join(lines) + rest
    assert "is cancelled and nothing was written" in rest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_the_demo(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tmp_path / "data")
    with shell.start("demo", "--per-class", "3") as process:
        shown, said = process.communicate()
    assert process.returncode == 0, said
    demo = tmp_path / "build" / "demo"
    assert ["total", "30", "30"] in [line.split() for line in shown.splitlines()]
    assert "ImageFolder found 30 images in 10 classes" in shown
    assert verify(demo / "dataset").ok
    assert verify(demo / "dataset.zip").ok
    assert (demo / "contact-sheet.png").read_bytes().startswith(b"\x89PNG")
    assert not (demo / "service" / "server.json").exists()


def test_a_model_is_exported_imported_chosen_and_deleted(shell: Shell, client: Client) -> None:
    exported = shell.run("models", "export", "fashion-cvae@1.0.0", "--out", "vae.zip")
    assert exported.returncode == 0, exported.stderr
    for version in ("1.0.0", "1.1.0"):
        done = shell.run(
            "models", "import", "vae.zip", "--name", "copy", "--version", version, "--json"
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["name"] == "copy"
    assert client.model("copy").version == "1.1.0"
    assert shell.run("models", "default", "copy@1.0.0").returncode == 0
    assert client.model("copy").version == "1.0.0"
    assert "copy@1.0.0" in shell.run("models", "versions", "copy").stdout
    asked: JobRequest = {"model": "copy", "samples_per_class": 1}
    job = client.wait(client.submit(asked))
    assert shell.run("models", "delete", "copy@1.0.0", "--yes").returncode == 0
    assert client.model("copy").version == "1.1.0"
    assert client.job(job).models[0].version == "1.0.0"
    again = shell.run("models", "import", "vae.zip")
    assert again.stdout.startswith("fashion-cvae@1.0.0 is registered")


def test_a_model_that_was_trained_here_is_served(shell: Shell, client: Client) -> None:
    from models.training.session import start
    from tests.trainings import small, some_digits

    quick = {"generator_rate": 3e-3, "partner_rate": 3e-3, "average_decay": 0.9}
    run = small("cvae", steps=60, snapshot_steps=60, settings=quick)
    trained = start(run, some_digits(), shell.folder / "runs" / "digits").spec
    done = shell.run("models", "import", "runs/digits", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["name"], shown["sha256"]) == ("digits", trained.sha256)
    asked: JobRequest = {"model": "digits", "samples_per_class": {"3": 4, "8": 2}}
    assert client.wait(client.submit(asked)).state is JobState.SUCCEEDED
    empty = shell.run("models", "import", ".")
    assert empty.returncode == 1
    assert "no readable spec.json" in empty.stderr
