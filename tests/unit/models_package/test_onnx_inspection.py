"""ONNX files that are refused before any runtime sees them, each with what to do instead."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import pytest
from onnx import helper

from models.errors import CheckpointError
from models.onnx_inspection import inspect
from tests.hostile.graphs import EXTERNAL, REFUSED
from tests.onnx_graphs import CLASSES, FLOAT, INT64, LATENT, ints, model, painter

LABELLED = (INT64, [])


def test_what_is_read_of_a_good_file():
    facts = inspect(painter([3, 6, 5], label=LABELLED).SerializeToString())
    assert [(port.name, port.dtype, port.shape) for port in facts.inputs] == [
        ("z", "float32", (None, LATENT)),
        ("label", "int64", (None,)),
    ]
    assert facts.outputs[0].shape == (None, 3, 6, 5)
    assert facts.table_rows == {"label": CLASSES}
    assert facts.peak_elements == 90
    assert facts.opset == 18
    assert facts.operators["Gather"] == 1


@pytest.mark.parametrize("where", EXTERNAL)
def test_weights_in_another_file_are_refused(where):
    with pytest.raises(CheckpointError, match=r"another file.*external_data=False"):
        inspect(EXTERNAL[where].SerializeToString())


@pytest.mark.parametrize("case", REFUSED)
def test_a_hostile_graph_is_refused_with_a_sentence(case):
    graph, sentence = REFUSED[case]
    started = time.process_time()
    with pytest.raises(CheckpointError, match=sentence):
        inspect(graph.SerializeToString())
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no graph"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "git lfs pull"),
        (b"PK\x03\x04archive/data.pkl", r"zip archive.*torch\.onnx\.export"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b"<!DOCTYPE html>", "a web page"),
        (b'{"a": 1}', "JSON"),
        (b"\xff" * 4096, "no protobuf"),
    ],
)
def test_what_is_no_onnx_file_is_named(content, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        inspect(content)


@pytest.mark.parametrize("kept", [1, 10, 100, 0.5, 0.9, -1])
def test_a_file_that_is_cut_off_is_refused(kept):
    content = painter([1, 6, 5], label=LABELLED).SerializeToString()
    end = int(kept * len(content)) if isinstance(kept, float) else kept
    with pytest.raises(CheckpointError):
        inspect(content[:end])


def test_bytes_changed_at_random_never_surprise():
    """Either read or refused as ours: nothing else comes out."""
    content = bytearray(painter([1, 6, 5], label=LABELLED).SerializeToString())
    stream = np.random.default_rng(11)
    for _ in range(400):
        mutant = bytearray(content)
        for place in stream.integers(0, len(mutant), stream.integers(1, 6)):
            mutant[place] = stream.integers(0, 256)
        with suppress(CheckpointError):
            inspect(bytes(mutant))


def test_sizes_that_follow_from_the_batch_are_allowed():
    """As exporters write them: the shape of the latent, its first side, a new shape."""
    graph = model(
        [
            helper.make_node("Shape", ["z"], ["shape"]),
            helper.make_node("Gather", ["shape", "zero"], ["count"]),
            helper.make_node("Concat", ["count", "sides"], ["wanted"], axis=0),
            helper.make_node("ReduceMean", ["z", "axes"], ["mean"]),
            helper.make_node("Reshape", ["mean", "pixel"], ["dot"]),
            helper.make_node("Expand", ["dot", "wanted"], ["images"]),
        ],
        [("z", FLOAT, ["n", LATENT])],
        ("images", FLOAT, ["n", 1, 6, 5]),
        [
            ints("zero", 0),
            ints("sides", 1, 6, 5),
            ints("axes", 1),
            ints("pixel", -1, 1, 1, 1),
        ],
    )
    assert inspect(graph.SerializeToString()).peak_elements == 30


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


VERSION = b"\x08\x09"
OVERGROWN = {
    "two-byte nodes": (field(7, b"\x0a\x00" * 2_000_000), "more than 500000 fields"),
    "two-byte constants": (field(7, b"\x2a\x00" * 2_000_000), "more than 500000 fields"),
    "sides of a shape": (field(7, field(5, field(1, b"\x01" * (20 << 20)))), "number by number"),
    "whole numbers": (field(7, field(5, field(7, b"\x01" * (20 << 20)))), "number by number"),
    "a group": (b"\x0b", "cut off"),
    "an endless number": (b"\xff" * 11, "cut off"),
    "a length beyond the end": (b"\x3a\x7f\x00", "cut off"),
}


@pytest.mark.parametrize("case", OVERGROWN)
def test_what_would_grow_in_memory_is_refused_before_it_is_parsed(case, monkeypatch):
    """Two bytes of a file are a hundred once parsed."""
    monkeypatch.setattr("models.onnx_inspection.ModelProto", None)
    content, sentence = OVERGROWN[case]
    with pytest.raises(CheckpointError, match=sentence):
        inspect(VERSION + content)


def test_messages_inside_messages_have_an_end():
    content = b""
    for _ in range(60):
        content = field(1, field(5, field(6, content)))  # a graph in an attribute of a node
    with pytest.raises(CheckpointError, match="nested more than 100"):
        inspect(VERSION + field(7, content))
