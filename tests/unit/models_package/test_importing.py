"""What is read from a checkpoint is what torch reads, and the child that reads it is walled in."""

from __future__ import annotations

import argparse
import io
import json
import os
import stat
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, load_file, save_file
from torch import Tensor, nn

from models.importing import child, sandbox
from models.importing.convert import run
from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.formats import Format, identify
from models.importing.limits import Limits
from models.importing.sandbox import Converted, convert
from tests.hostile.building import legacy, saved, state_dict

DTYPES = [
    torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
    torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "a file"
    path.write_bytes(content)
    return path


def converted(tmp_path: Path, content: bytes, **options: Any) -> Converted:
    workdir = tmp_path / "work"
    workdir.mkdir(exist_ok=True)
    return convert(written(tmp_path, content), workdir, **options)


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
        for name, tensor in wanted.items()
    )


# Against torch and safetensors themselves


@pytest.mark.parametrize("save", [saved, legacy])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_numbers_is_read_as_torch_reads_it(
    save: Any, dtype: torch.dtype, tmp_path: Path
) -> None:
    state = {"a": torch.arange(24).reshape(2, 3, 4).to(dtype), "b": torch.zeros(0).to(dtype)}
    content = save(state)
    wanted = torch.load(io.BytesIO(content), weights_only=True)
    assert same(load_file(converted(tmp_path, content).weights), wanted)


views = st.sampled_from(
    [
        lambda t: t,
        lambda t: t.transpose(0, -1),
        lambda t: t[1:],
        lambda t: t[..., ::2],
        lambda t: t.flatten()[3:],
        lambda t: t[0, 0],
        lambda t: nn.Parameter(t),
        lambda t: t.unsqueeze(0).to(memory_format=torch.channels_last),
    ]
)
shapes = st.lists(st.integers(2, 5), min_size=3, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    states=st.dictionaries(
        st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=9),
        st.tuples(shapes, views),
        min_size=1,
        max_size=4,
    ),
    old=st.booleans(),
)
def test_any_view_of_any_storage_is_read_as_torch_reads_it(states: Any, old: bool) -> None:
    """In this process: the reader is the one of the child."""
    state = {name: view(torch.randn(*shape)) for name, (shape, view) in states.items()}
    content = (legacy if old else saved)(state)
    output = io.BytesIO()
    run(io.BytesIO(content), output, {"size": len(content), "limits": {}})
    wanted = torch.load(io.BytesIO(content), weights_only=True)
    found = load(output.getvalue())
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in wanted.items()}


def test_float64_becomes_float32_and_what_overflows_is_counted(tmp_path: Path) -> None:
    double = torch.tensor([1.5, 1e300, float("nan")], dtype=torch.float64)
    result = converted(tmp_path, saved({"w": double}))
    (row,) = result.report.tensors
    assert (row.dtype, row.original_dtype, row.non_finite) == ("F32", "F64", 2)
    assert load_file(result.weights)["w"][0] == 1.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_what_is_not_finite_is_counted_as_torch_counts_it(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    noise = np.random.default_rng(7).integers(0, 256, 8 * 4096, dtype=np.uint8)
    values = torch.from_numpy(noise).view(dtype)
    wanted = int((~torch.isfinite(values.float())).sum())
    (row,) = converted(tmp_path, saved({"w": values})).report.tensors
    assert row.non_finite == wanted


def test_safetensors_come_through_as_they_are(tmp_path: Path) -> None:
    save_file(dict(state_dict()), tmp_path / "in.safetensors")
    result = converted(tmp_path, (tmp_path / "in.safetensors").read_bytes())
    assert result.report.format == "safetensors"
    assert same(load_file(result.weights), dict(state_dict()))


def test_the_order_of_the_file_is_kept(tmp_path: Path) -> None:
    state = OrderedDict((name, torch.zeros(2)) for name in ("z.10", "a.9", "m", "a.10"))
    report = converted(tmp_path, saved(state)).report
    assert [row.name for row in report.tensors] == list(state)


# Where the tensors are


WRAPPERS = {
    "bare": (lambda s: s, ()),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3, "nz": 100}, ("state_dict",)),
    "both networks": (
        lambda s: {"netD": {"w": torch.zeros(9999)}, "netG": s, "epoch": 3}, ("netG",)),
    "by letter": (lambda s: {"D": {"w": torch.zeros(9999)}, "G": s}, ("G",)),
    "averaged": (lambda s: {"g": {"w": torch.zeros(999)}, "g_ema": s}, ("g_ema",)),
    "vae": (lambda s: {"encoder": {"w": torch.zeros(9999)}, "decoder": s}, ("decoder",)),
    "nested": (
        lambda s: {"state": {0: {"m": torch.zeros(3)}}, "models": {"generator": s, "critic": s}},
        ("models", "generator")),
    "with an optimizer": (
        lambda s: {"model_state_dict": s, "optimizer_state_dict": {"w": torch.zeros(9999)}},
        ("model_state_dict",)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_generator_is_found_in_its_wrapper(name: str, tmp_path: Path) -> None:
    wrap, path = WRAPPERS[name]
    result = converted(tmp_path, saved(wrap(state_dict())))
    assert result.report.path == path
    assert same(load_file(result.weights), dict(state_dict()))


def test_another_part_can_be_asked_for_and_its_neighbours_are_told(tmp_path: Path) -> None:
    content = saved({"a": {"w": torch.zeros(2)}, "b": {"w": torch.ones(3)}, "loss": 0.5})
    result = converted(tmp_path, content, state=("b",))
    assert load_file(result.weights)["w"].tolist() == [1, 1, 1]
    assert set(result.report.parts) == {("a",), ("b",)}
    assert result.report.scalars == {"loss": 0.5}
    with pytest.raises(UnsupportedCheckpointError, match="there are tensors under a, b"):
        converted(tmp_path, content, state=("c",))


def test_what_trainings_save_beside_their_weights_is_passed_over(tmp_path: Path) -> None:
    """Numbers of NumPy, arguments, paths: torch itself refuses such a file as a whole."""
    content = saved(
        {
            "generator": state_dict(),
            "args": argparse.Namespace(lr=2e-4, out=Path("runs")),
            "losses": [np.float64(0.3)],
            "best": np.float32(1.0),
            "curve": np.arange(4),
            "rng": torch.get_rng_state(),
            "nz": 100,
        }
    )
    result = converted(tmp_path, content)
    assert result.report.path == ("generator",)
    assert result.report.scalars["nz"] == 100
    assert same(load_file(result.weights), dict(state_dict()))


# The walls


PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; from models.importing import child; "
    "child.TASKS['convert'] = {task!r}; child.main()"
)


def run_task(task: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **limits: Any) -> Any:
    """A task of the tests in the child, in place of the reader."""
    monkeypatch.setattr(sandbox, "PROGRAM", PROGRAM.format(task=f"tests.hostile.{task}"))
    workdir = tmp_path / "work"
    workdir.mkdir(exist_ok=True)
    path = written(tmp_path, saved(state_dict()))
    return sandbox.run_in_sandbox("convert", path, workdir / "out", {}, Limits(**limits))


@pytest.mark.skipif(sys.platform != "linux", reason="the filter of system calls is Linux's")
def test_a_taken_over_child_can_do_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = run_task("escapes", monkeypatch, tmp_path)
    assert answer.result["tried"] >= 12
    assert answer.result["done"] == []
    assert {"memory", "no-files", "system-calls", "no-new-privileges"} <= set(answer.layers)
    assert not Path("/tmp/synthloom-escaped").exists()


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("endless", Kind.OUT_OF_TIME),
        ("lingering", Kind.OUT_OF_TIME),
        ("silent", Kind.CRASHED),
        ("talkative", Kind.CRASHED),
        ("nonsense", Kind.CRASHED),
        ("hungry", Kind.OUT_OF_MEMORY),
    ],
)
def test_whatever_the_child_does_the_parent_goes_on(
    task: str, kind: Kind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedCheckpointError) as caught:
        run_task(
            f"children.{task}",
            monkeypatch,
            tmp_path,
            seconds=2.0 if kind is Kind.OUT_OF_TIME else 60.0,
        )
    assert caught.value.kind is kind
    assert list((tmp_path / "work").iterdir()) == []


def test_a_child_that_lies_about_its_file_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = "tests.hostile.children.liar"
    monkeypatch.setattr(sandbox, "PROGRAM", PROGRAM.format(task=task))
    with pytest.raises(UnsupportedCheckpointError) as caught:
        converted(tmp_path, saved(state_dict()))
    assert caught.value.kind is Kind.CRASHED
    assert list((tmp_path / "work").iterdir()) == []


# The path itself


def test_a_folder_a_pipe_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero"), tmp_path / "none", Path("a\0b")):
        with pytest.raises(UnsupportedCheckpointError) as caught:
            convert(path, tmp_path)
        assert caught.value.kind is Kind.NO_FILE


def test_a_link_is_followed_and_a_name_is_not_believed(tmp_path: Path) -> None:
    written(tmp_path, saved(state_dict()))
    (tmp_path / "net.safetensors").symlink_to(tmp_path / "a file")
    workdir = tmp_path / "work"
    workdir.mkdir()
    assert convert(tmp_path / "net.safetensors", workdir).report.format == "torch"


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpointError, match="at most 100") as caught:
        converted(tmp_path, saved(state_dict()), limits=Limits(file_bytes=100))
    assert caught.value.kind is Kind.TOO_LARGE


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"PK\x03\x04", Format.ZIP),
        (b"\x80\x02}q", Format.PICKLE),
        (b"\x80\x04\x95", Format.PICKLE),
        (b"(dp0\nS'a'\n.", Format.PICKLE),
        (b"\x10\0\0\0\0\0\0\0{}              ", Format.SAFETENSORS),
        (b"\x08\x08\x12\x03abc\x3a\x02\x0a\x00", Format.ONNX),
    ],
)
def test_the_first_bytes_decide(head: bytes, found: Format) -> None:
    assert identify(io.BytesIO(head), len(head)) is found


def test_the_weights_are_readable_for_the_owner_only_as_any_new_file(tmp_path: Path) -> None:
    mode = stat.S_IMODE(converted(tmp_path, saved(state_dict())).weights.stat().st_mode)
    assert not mode & 0o111


def test_the_child_is_given_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNTHLOOM_DATABASE_URL", "postgresql://user:word@host/db")
    answer = run_task("escapes", monkeypatch, tmp_path)
    assert "word" not in json.dumps(answer.result["environment"])
    assert all(
        module.startswith(("models.importing.", "models.corpus."))
        for module in child.TASKS.values()
    )
