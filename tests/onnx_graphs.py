"""Small ONNX generators of many kinds, built node by node, whose images are known by arithmetic.

Every graph paints image i with one number: the mean of its latent, plus its label where it takes
one. So what an image must be is a line of NumPy, whatever the layout and the type.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.spec import ModelSpec

FLOAT, INT64, INT32, UINT8 = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.UINT8,
)
LATENT = 8
CLASSES = 4
OPSET = 18

Side = int | str | None


def ints(name: str, *values: int) -> TensorProto:
    """A constant of int64 [len(values)]."""
    return numpy_helper.from_array(np.array(values, np.int64), name)


def number(name: str, value: float) -> TensorProto:
    """A constant float32 scalar."""
    return numpy_helper.from_array(np.array(value, np.float32), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, Sequence[Side]]],
    output: tuple[str, int, Sequence[Side]],
    constants: Sequence[TensorProto] = (),
    **fields: object,
) -> onnx.ModelProto:
    """A model of these nodes, of IR version 9 and opset 18."""
    graph = helper.make_graph(
        list(nodes),
        "generator",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*output)],
        list(constants),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, **fields)


def painter(
    sides: Sequence[int],
    *,
    batch: Side = "n",
    label: tuple[int, Sequence[Side]] | None = None,
    dtype: int = FLOAT,
    scale: float = 1.0,
    latent: Sequence[int] = (LATENT,),
    tail: Sequence[onnx.NodeProto] = (),
    result: str = "images",
) -> onnx.ModelProto:
    """z [batch, *latent] (and label) -> `scale` * (mean of z + label) on every one of `sides`.

    tail: nodes that make "images" of "painted", in place of a cast to `dtype`.
    """
    rank = len(latent)
    ones = [1] * len(sides)
    nodes = [helper.make_node("ReduceMean", ["z", "axes"], ["mean"], keepdims=0)]
    inputs: list[tuple[str, int, Sequence[Side]]] = [("z", FLOAT, [batch, *latent])]
    value = "mean"
    if label is not None:
        kind, shape = label
        inputs.append(("label", kind, [batch, *shape]))
        if shape and shape[0] == CLASSES:
            nodes.append(helper.make_node("Cast", ["label"], ["hot"], to=FLOAT))
            nodes.append(helper.make_node("Gemm", ["hot", "numbers"], ["column"]))
            nodes.append(helper.make_node("Squeeze", ["column", "one"], ["class"]))
        else:
            nodes.append(helper.make_node("Cast", ["label"], ["whole"], to=INT64))
            flat = "whole"
            if shape:
                nodes.append(helper.make_node("Squeeze", ["whole", "one"], ["flat"]))
                flat = "flat"
            nodes.append(helper.make_node("Gather", ["table", flat], ["class"]))
        nodes.append(helper.make_node("Add", ["mean", "class"], ["sum"]))
        value = "sum"
    nodes += [
        helper.make_node("Mul", [value, "scale"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "column_shape"], ["pixel"]),
        helper.make_node("Tile", ["pixel", "repeats"], ["painted"]),
        *(tail or [helper.make_node("Cast", ["painted"], [result], to=dtype)]),
    ]
    constants = [
        ints("axes", *range(1, rank + 1)),
        ints("one", 1),
        ints("column_shape", -1, *ones),
        ints("repeats", 1, *sides),
        number("scale", scale),
        numpy_helper.from_array(np.arange(CLASSES, dtype=np.float32), "table"),
        numpy_helper.from_array(np.arange(CLASSES, dtype=np.float32)[:, None], "numbers"),
    ]
    used = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in constants if tensor.name in used]
    return model(nodes, inputs, (result, dtype, [batch, *sides]), constants)


def external(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its first constant in another file, as exporters write large models."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    tensor = copy.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "generator.onnx.data", 0, 16)
    tensor.ClearField("raw_data")
    return copy


def first_only(sides: Sequence[int]) -> onnx.ModelProto:
    """A graph that takes any number of latents and paints the first one only."""
    tail = [helper.make_node("Slice", ["painted", "first", "second"], ["images"])]
    graph = painter(sides, tail=tail)
    graph.graph.initializer.extend([ints("first", 0), ints("second", 1)])
    return graph


def onnx_spec(
    content: bytes,
    image: tuple[int, int, int] = (6, 5, 1),
    classes: int = 0,
    value_range: tuple[float, float] = (-1.0, 1.0),
    **fields: object,
) -> ModelSpec:
    """The spec of an ONNX file, its options as keywords."""
    height, width, channels = image
    return ModelSpec.model_validate(
        {
            "name": "strange",
            "version": "1",
            "family": "gan",
            "architecture": "onnx",
            "options": fields.pop("options", {}),
            "image": {"height": height, "width": width, "channels": channels},
            "latent_size": LATENT,
            "conditioning": "class" if classes else "none",
            "classes": [f"class-{label}" for label in range(classes)],
            "value_range": value_range,
            "licence": "MIT",
            "weights": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
        }
        | fields
    )
