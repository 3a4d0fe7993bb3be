"""kill -9 at any moment costs steps, never the result; what was half written is never read."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from models.files import SPEC_FILE
from models.training.config import TrainingConfig
from models.training.session import start
from models.training.snapshots import Snapshots
from tests.trainings import small, some_digits

ROOT = Path(__file__).parents[3]
STEPS = 60


def judged() -> TrainingConfig:
    return small(
        "cvae", steps=STEPS, snapshot_steps=15, validation=100, checkpoint_minutes=0.01, keep=2,
    )  # fmt: skip


def killed(config: TrainingConfig, folder: Path, step: int) -> bool:
    """Train in another process and kill it when it says that step; whether it was still there."""
    program = [sys.executable, "-m", "tests.trainings", config.model_dump_json(), str(folder)]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == step:
                process.kill()
                break
        return process.wait() < 0


def scores(folder: Path) -> list[tuple[int, float]]:
    rows = Snapshots(folder, 1).rows
    return [(row.step, row.judged.score) for row in rows if row.judged is not None]


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = start(judged(), some_digits(), tmp_path / "whole")
    step = random.randrange(2, STEPS - 10)
    print("killed at step", step)
    assert killed(judged(), tmp_path / "cut", step)
    assert not (tmp_path / "cut" / SPEC_FILE).exists()
    resumed = start(judged(), some_digits(), tmp_path / "cut")
    assert resumed.spec.weights.sha256 == whole.spec.weights.sha256
    assert scores(tmp_path / "cut") == scores(tmp_path / "whole")
    assert resumed.chosen.step == whole.chosen.step


@pytest.mark.soak
def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    whole = start(judged(), some_digits(), tmp_path / "whole")
    draw = random.Random(0)
    reached = 0
    for _ in range(20):
        reached = min(reached + draw.randrange(1, 8), STEPS)
        if not killed(judged(), tmp_path / "cut", reached):
            break
    resumed = start(judged(), some_digits(), tmp_path / "cut")
    assert resumed.spec.weights.sha256 == whole.spec.weights.sha256


def test_what_a_kill_left_half_written_is_not_read(tmp_path: Path) -> None:
    few, run = some_digits(), small("vae", steps=6, snapshot_steps=3, keep=1)
    whole = start(run, few, tmp_path / "whole")
    cut = tmp_path / "cut"
    start(run.model_copy(update={"steps": 3}), few, cut)
    (cut / ".state.safetensors.x1").write_bytes(b"half")  # a temporary file that was not renamed
    half = cut / "snapshots" / "step-0000006"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")  # a checkpoint whose spec was not written
    # Steps beyond the state, and a row that was cut short.
    (cut / "losses.csv").write_text("step,seconds,a,b\n2,0.1,60.5,1\n20,0.1,70.5,0.9\n40,0.")
    resumed = start(run, few, cut)
    assert resumed.spec.weights == whole.spec.weights
    assert [path.name for path in (cut / "snapshots").iterdir()] == ["step-0000006"]
    assert (half / SPEC_FILE).exists()
    assert (cut / "losses.csv").read_text().split() == ["step,seconds,a,b", "2,0.1,60.5,1"]
