"""First runs of a stranger's graph, in the sandbox: what it really does with a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from models.errors import ModelError
from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.onnx_file import inspect_onnx, try_onnx
from models.onnx_trial import try_out
from tests.onnx_graphs import (
    CLASSES,
    FLOAT,
    INT64,
    LATENT,
    external,
    first_only,
    ints,
    model,
    number,
    onnx_spec,
    painter,
)


def neighbours() -> onnx.ModelProto:
    """Batch norm left in training mode, which is what it comes to: the batch's mean goes off."""
    return model(
        [
            helper.make_node("ReduceMean", ["z", "zero"], ["average"], keepdims=1),
            helper.make_node("Sub", ["z", "average"], ["centred"]),
            helper.make_node("ReduceMean", ["centred", "one"], ["mean"], keepdims=0),
            helper.make_node("Reshape", ["mean", "dot"], ["pixel"]),
            helper.make_node("Tile", ["pixel", "repeats"], ["images"]),
        ],
        [("z", FLOAT, ["n", LATENT])],
        ("images", FLOAT, ["n", 1, 6, 5]),
        [ints("zero", 0), ints("one", 1), ints("dot", -1, 1, 1, 1), ints("repeats", 1, 1, 6, 5)],
    )


@pytest.mark.parametrize(
    ("graph", "batch"),
    [
        (painter([1, 6, 5]), None),
        (painter([1, 6, 5], batch=1), 1),
        (painter([1, 6, 5], batch=4), 4),
        (first_only([1, 6, 5]), 1),
    ],
)
def test_the_batch_is_what_runs_show_and_not_what_the_graph_says(graph, batch):
    content = graph.SerializeToString()
    trial = try_out(onnx_spec(content), content)
    assert (trial.batch, trial.images, trial.non_finite) == (batch, 3, 0)


def test_images_that_are_no_numbers_are_counted():
    tail = [helper.make_node("Sqrt", ["painted"], ["images"])]
    content = painter([1, 6, 5], tail=tail, scale=-1e30).SerializeToString()
    trial = try_out(onnx_spec(content), content)
    assert 0 < trial.non_finite <= 3


def test_an_image_that_depends_on_its_neighbours_is_refused():
    content = neighbours().SerializeToString()
    with pytest.raises(ModelError, match=r"others of its batch.*eval mode"):
        try_out(onnx_spec(content), content)


def test_a_graph_that_runs_with_no_batch_is_refused():
    tail = [helper.make_node("Reshape", ["painted", "seven"], ["images"])]
    graph = painter([1, 6, 5], tail=tail)
    graph.graph.initializer.append(ints("seven", 7))
    content = graph.SerializeToString()
    with pytest.raises(ModelError, match="does not run"):
        try_out(onnx_spec(content), content)


def hidden(power: int) -> onnx.ModelProto:
    """2**power elements, of constants that shape inference does not follow."""
    graph = painter([1, 6, 5])
    nodes = list(graph.graph.node)
    at = next(i for i, node in enumerate(nodes) if node.op_type == "Reshape")
    nodes[at].input[0] = "more"
    nodes[at:at] = [
        helper.make_node("Pow", ["two", "power"], ["float_size"]),
        helper.make_node("Cast", ["float_size"], ["whole_size"], to=INT64),
        helper.make_node("Reshape", ["whole_size", "one_side"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceMean", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["scaled", "zero"], ["more"]),
    ]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    constants = [number("two", 2.0), number("power", float(power)), ints("one_side", 1)]
    graph.graph.initializer.extend(constants)
    return graph


@pytest.fixture
def written(tmp_path):
    def write(graph: onnx.ModelProto) -> tuple[Path, Path, bytes]:
        content = graph.SerializeToString()
        path, workdir = tmp_path / "generator.onnx", tmp_path / "work"
        path.write_bytes(content)
        workdir.mkdir()
        return path, workdir, content

    return write


def test_the_sandbox_runs_a_graph_and_keeps_nothing(written):
    path, workdir, content = written(painter([1, 6, 5], label=(INT64, [])))
    assert try_onnx(path, workdir, onnx_spec(content, classes=CLASSES)).batch is None
    assert not list(workdir.iterdir())


def test_memory_that_no_check_foresees_ends_in_the_sandbox(written):
    path, workdir, content = written(hidden(36))
    inspect_onnx(path, workdir)
    with pytest.raises(UnsupportedCheckpointError) as caught:
        try_onnx(path, workdir, onnx_spec(content))
    assert caught.value.kind in (Kind.OUT_OF_MEMORY, Kind.CRASHED)
    assert not list(workdir.iterdir())


def test_a_small_hidden_size_is_no_reason_to_refuse(written):
    path, workdir, content = written(hidden(10))
    assert try_onnx(path, workdir, onnx_spec(content)).images == 3


def test_weights_in_another_file_are_refused_in_the_sandbox(written):
    path, workdir, _ = written(external(painter([1, 6, 5])))
    with pytest.raises(UnsupportedCheckpointError, match="external_data=False") as caught:
        inspect_onnx(path, workdir)
    assert caught.value.kind is Kind.ONNX
    assert not list(workdir.iterdir())


def test_a_spec_that_does_not_fit_is_told_from_the_sandbox(written):
    path, workdir, content = written(painter([1, 6, 5]))
    with pytest.raises(UnsupportedCheckpointError, match=r"options\.label"):
        try_onnx(path, workdir, onnx_spec(content, classes=3))


def test_the_trial_is_the_same_every_time():
    content = painter([1, 6, 5]).SerializeToString()
    trials = [try_out(onnx_spec(content), content) for _ in range(3)]
    assert len({(trial.batch, trial.non_finite) for trial in trials}) == 1
    assert all(np.isfinite(trial.seconds) for trial in trials)
