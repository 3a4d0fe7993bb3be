"""What follows from how an ONNX graph is wired: the number of classes, and the range of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import onnx
from onnx import GraphProto, NodeProto, TensorProto

RESHAPING: Final = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
MOVING: Final = (*RESHAPING, "DepthToSpace", "Slice", "Transpose")


def table_rows(graph: GraphProto, inputs: set[str]) -> dict[str, int]:
    """Rows of the table, or classes of the one-hot vector, that each input selects from."""
    makers = {name: node for node in graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute:
            tensors[node.output[0]] = node.attribute[0].t
    rows: dict[str, int] = {}
    for index, count in _selections(graph.node, tensors):
        source = _source(index, makers, RESHAPING)
        if source in inputs and count:
            rows[source] = min(count, rows.get(source, count))
    return rows


def _selections(
    nodes: Iterable[NodeProto], tensors: dict[str, TensorProto]
) -> Iterator[tuple[str, int]]:
    for node in nodes:
        if node.op_type == "Gather" and node.input[0] in tensors:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            dims = tensors[node.input[0]].dims
            if -len(dims) <= axis < len(dims):
                yield node.input[1], dims[axis]
        elif node.op_type == "OneHot" and len(node.input) > 1 and node.input[1] in tensors:
            depth = onnx.numpy_helper.to_array(tensors[node.input[1]])
            yield node.input[0], int(depth.flat[0]) if depth.size == 1 else 0


def last_operators(graph: GraphProto) -> dict[str, str]:
    """The operator that computes the values of each output, whatever moves them after it."""
    makers = {name: node for node in graph.node for name in node.output}
    sources = ((value.name, _source(value.name, makers, MOVING)) for value in graph.output)
    return {name: makers[source].op_type for name, source in sources if source in makers}


def _source(name: str, makers: dict[str, NodeProto], through: tuple[str, ...]) -> str:
    """Where a value comes from, past the operators `through` which it only passes."""
    for _ in range(len(makers)):
        maker = makers.get(name)
        if maker is None or maker.op_type not in through or not maker.input:
            break
        name = maker.input[0]
    return name
