"""The commands of README.md, run in order against a service of their own, as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from app.datasets.verify import verify
from tests.harness import Server, serving

README = Path(__file__).parents[2] / "README.md"
MINUTES = 4

NOT_RUN = {
    "make demo": "installs, then does what the other blocks do; it has a test of its own",
    "make serve": "runs until it is stopped; here the harness serves on a free port",
    "make test": "is what runs this test",
}


class Block(NamedTuple):
    """A fenced block, and the line it begins at."""

    line: int
    language: str
    text: str


def blocks() -> list[Block]:
    """The fenced blocks of the README that are commands."""
    text = README.read_text()
    found = re.finditer(r"^```(sh|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in found]


def script() -> str:
    """One shell script of all blocks; it says where it is and stops at the first failure."""
    lines = ["set -euo pipefail"]
    for block in blocks():
        lines.append(f"echo '# README.md:{block.line}'")
        if block.language == "python":
            lines.append(f"python - <<'END OF BLOCK'\n{block.text}END OF BLOCK")
        else:
            lines += [line for line in block.text.splitlines() if line not in NOT_RUN]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A fresh one."""
    with serving(tmp_path_factory.mktemp("readme") / "data") as running:
        yield running


def test_excluded_commands_still_stand_there() -> None:
    commands = {line for block in blocks() if block.language == "sh"
                for line in block.text.splitlines()}  # fmt: skip
    assert set(NOT_RUN) <= commands


def test_nothing_is_fenced_in_another_way() -> None:
    fences = re.findall(r"^```(.*)$", README.read_text(), re.MULTILINE)
    assert set(fences) == {"", "sh", "python"}
    assert len(fences) == 2 * len(blocks())


@pytest.mark.timeout(60 * MINUTES + 30)
def test_every_command_does_what_it_says(server: Server, tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SYNTHLOOM_")}
    environment = inherited | {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "SYNTHLOOM_DATA_DIR": str(server.data_dir),
        "SYNTHLOOM_SERVER": server.url,
    }
    done = subprocess.run(
        ["bash", "-c", script()],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60 * MINUTES,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert '"state":"succeeded"' in done.stdout
    assert "/problems/unknown-class" in done.stdout
    assert re.search(r"^sandal/\d{8}\.png fashion-cgan@\S+ 1 \d+$", done.stdout, re.MULTILINE)
    assert server.key not in done.stdout + done.stderr

    assert verify(tmp_path / "out").delivered == dict.fromkeys(verify(tmp_path / "out").asked, 20)
    assert verify(tmp_path / "bags").delivered == {"bag": 200, "coat": 50}
    assert verify(tmp_path / "sandals.zip").images == 40
    assert verify(tmp_path / "unlabelled").delivered == {"unlabelled": 20}
    rows = [json.loads(line) for line in (tmp_path / "manifest.ndjson").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(250))
    for picture in ("preview.png", "first.png", "grid.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
