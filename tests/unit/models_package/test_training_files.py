"""What a run leaves: record, curves, progress, pictures, event files; and the command for it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from models.corpus.corpus import Corpus
from models.files import WEIGHTS_FILE, read_spec
from models.training.callbacks import LossTable
from models.training.cli import train_command, train_here
from models.training.progress import read_progress
from models.training.record import MOST_POINTS, curves
from models.training.session import Outcome, start
from models.training.snapshots import Judged, Row
from models.training.tensorboard import TensorBoard
from tests.trainings import small


@pytest.fixture(scope="module")
def run(digits: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A finished little training, watched by TensorBoard and gone on with once."""
    folder = tmp_path_factory.mktemp("run")
    size = {"height": 8, "width": 8, "channels": 1}
    short = small("cvae", steps=40, snapshot_steps=40, validation=0.2, preprocessing=size)
    start(short, digits, folder, [TensorBoard(folder / "events", every=10)])
    longer = short.model_copy(update={"steps": 80})
    return folder, start(longer, digits, folder, [TensorBoard(folder / "events", every=10)])


def test_the_record_is_enough_to_do_it_again(run: tuple[Path, Outcome], digits: Corpus) -> None:
    record = read_spec(run[0]).training
    assert record["data_sha256"] == digits.sha256
    assert (record["images"], record["validation_images"]) == (1438, 359)
    assert (record["seed"], record["steps"], record["ended"]) == (0, 80, "steps")
    assert record["recipe"]["loss"] == "elbo"  # type: ignore[index,call-overload]
    assert record["versions"].keys() == {"python", "torch", "numpy"}  # type: ignore[union-attr]
    preprocessing = record["preprocessing"]
    assert isinstance(preprocessing, dict)
    assert preprocessing["channels"] == 1
    assert preprocessing["value_range"] == [0.0, 1.0]
    assert record["judge_accuracy"] > 0.9  # type: ignore[operator]
    json.dumps(record, allow_nan=False)


def test_figures_are_those_of_the_chosen_snapshot(run: tuple[Path, Outcome]) -> None:
    folder, outcome = run
    judged = outcome.chosen.judged
    assert judged is not None
    figures = read_spec(folder).figures
    assert figures["validation_kid"] == round(judged.kid, 4)
    assert figures["validation_real_images"] == 359


def test_curves_have_every_loss_and_figure(run: tuple[Path, Outcome]) -> None:
    found = read_spec(run[0]).training["curves"]
    assert isinstance(found, dict)
    assert {"reconstruction", "divergence", "kid", "label_agreement"} < found.keys()
    losses, scores = found["reconstruction"], found["score"]
    assert isinstance(losses, dict)
    assert isinstance(scores, dict)
    assert losses["step"] == [20, 40, 60, 80]
    assert losses["value"][0] > losses["value"][-1]  # type: ignore[index,operator]
    assert scores["step"] == [40, 80]


def test_long_curves_are_thinned_by_means(tmp_path: Path) -> None:
    lines = [f"{step},{step / 10},{step % 2}" for step in range(1, 10_001)]
    (tmp_path / "losses.csv").write_text("\n".join(["step,seconds,a", *lines]))
    rows = [
        Row(step=step, seconds=0, judged=Judged(
            score=step, kid=0, distinct=1, samples=1, real_images=1))
        for step in range(1000)
    ]  # fmt: skip
    found = curves(tmp_path / "losses.csv", rows)
    a, score = found["a"], found["score"]
    assert isinstance(a, dict)
    assert isinstance(score, dict)
    assert len(a["step"]) == len(a["value"]) == len(score["step"]) == MOST_POINTS  # type: ignore[arg-type]
    assert a["step"][-1] == 10_000  # type: ignore[index]
    assert set(a["value"]) == {0.5}  # type: ignore[arg-type]


def test_progress_can_be_read_by_others(run: tuple[Path, Outcome], tmp_path: Path) -> None:
    progress = read_progress(run[0])
    assert progress is not None
    assert (progress.state, progress.ended, progress.step, progress.steps) == (
        "finished", "steps", 80, 80,
    )  # fmt: skip
    assert progress.best == run[1].chosen.judged
    assert progress.losses.keys() == {"reconstruction", "divergence"}
    assert progress.updated > 0
    assert read_progress(tmp_path) is None


def test_pictures_show_a_class_a_row(run: tuple[Path, Outcome]) -> None:
    folder = run[0]
    for name in ("grid.png", "preview.png"):
        with Image.open(folder / name) as sheet:
            assert sheet.size == (100, 100)  # ten tiles of 8 pixels and their margins
    with Image.open(folder / "curve.png") as curve:
        assert curve.width > 400
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_tensorboard_reads_what_was_written(run: tuple[Path, Outcome]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run[0] / "events"), {"scalars": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    assert {"loss/reconstruction", "loss/divergence", "figure/kid"} <= set(tags["scalars"])
    losses = events.Scalars("loss/reconstruction")
    assert [event.step for event in losses] == [10, 20, 30, 40, 50, 60, 70, 80]
    assert losses[0].value > losses[-1].value
    assert [event.step for event in events.Images("samples")] == [40, 80]
    sheet = Image.open(io.BytesIO(events.Images("samples")[0].encoded_image_string))
    assert sheet.size == (100, 100)
    assert tags["graph"]
    assert {"aten::sigmoid"} <= {node.op for node in events.Graph().node}


def test_a_loss_table_forgets_the_steps_that_are_done_again(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("step,seconds,a\n100,1,0.5\n200,2,0.4\n300,3,0.3\n")
    LossTable(path).begin(200, 1000)
    assert path.read_text().split() == ["step,seconds,a", "100,1,0.5", "200,2,0.4"]
    path.write_text("step,sec")  # killed while it wrote the first line
    LossTable(path).begin(0, 1000)
    assert not path.exists()


# The command


@pytest.fixture
def invoke(digits: Corpus, tmp_path: Path):  # type: ignore[no-untyped-def]
    few = digits.take(slice(400))
    np.savez(tmp_path / "digits.npz", images=few.images, labels=few.labels)
    app = typer.Typer()
    app.command()(train_command(train_here))

    def run(*arguments: str) -> Result:
        data = ["--data", str(tmp_path / "digits.npz"), "--out", str(tmp_path / "out")]
        return CliRunner().invoke(app, [*data, *arguments])

    return run


def test_the_command_trains_and_says_how_to_serve_it(invoke, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    given = ["--architecture", "cvae", "--name", "tiny", "--steps", "20", "--threads", "1"]
    result = invoke(*given, "--set", "base=8", "--set", "kl_weight=0.5", "--validation", "0.2")
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    assert "label agreement" in result.output
    assert f"synthloom models import {out}" in result.output
    spec = read_spec(out)
    assert (spec.name, spec.options["base"]) == ("tiny", 8)
    assert spec.training["recipe"]["kl_weight"] == 0.5  # type: ignore[index,call-overload]
    assert (out / WEIGHTS_FILE).stat().st_size == spec.weights.bytes


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--architecture", "novel"], "not one of: cgan"),
        (["--set", "generator_rat=1"], "did you mean 'generator_rate'"),
        (["--set", "base"], "write KEY=VALUE"),
        (["--size", "28"], "--channels"),
        (["--size", "a", "--channels", "1"], "HEIGHTxWIDTH"),
        (["--steps", "1", "--epochs", "1"], "steps or epochs, not both"),
        (["--name", "No Such Name"], "name"),
    ],
)
def test_a_wrong_option_is_named(invoke, tmp_path: Path, wrong: list[str], sentence: str) -> None:  # type: ignore[no-untyped-def]
    result = invoke("--architecture", "cgan", "--name", "tiny", *wrong)
    assert result.exit_code == 2
    shown = " ".join(result.output.replace("│", " ").split())
    assert sentence in shown
    assert not (tmp_path / "out").exists()


def test_data_that_is_not_there_is_one_sentence(invoke) -> None:  # type: ignore[no-untyped-def]
    result = invoke("--architecture", "vae", "--name", "tiny", "--data", "/none")
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert "Traceback" not in result.output
