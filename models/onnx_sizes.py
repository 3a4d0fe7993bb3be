"""How large the tensors of an ONNX graph become, told before it runs.

Two facts together bound a run. Shape inference of the `onnx` library gives the size of nearly
every tensor of one image. And no size may depend on the values of an input, only on how many
images are asked for, so what a trial run takes is what every run of that batch takes.
"""

from __future__ import annotations

from math import prod
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from models.onnx_graph import refusal
from models.onnx_operators import MEASURES, SIZE_INPUTS

ELEMENT_LIMIT: Final = 1 << 28
"""Of any tensor of one image: 1 GiB of float32, eight times a 1024 x 1024 image of 32 channels."""
TOTAL_LIMIT: Final = 1 << 31
"""Of all tensors of one image together, for a graph that would hold many of them at once."""
RANK_LIMIT: Final = 16
SMALL: Final = 4096
"""Constants above so many elements are no shapes, and are left out of shape inference."""
INVALID: Final = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)


def check_sizes(model: ModelProto) -> int:
    """Elements of the largest tensor of one image; refused when too many or not bounded."""
    skeleton = _skeleton(model)
    try:
        onnx.checker.check_model(skeleton)
        inferred = onnx.shape_inference.infer_shapes(skeleton, check_type=True, data_prop=True)
    except (*INVALID, ValueError, RuntimeError) as error:  # a message that is no text, or worse
        reason = str(error).strip().splitlines()[0][:200]
        raise refusal(f"the graph is not valid: {reason}") from error
    _check_sources(inferred.graph)
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    counts = [_elements(value) for value in values]
    if sum(counts) > TOTAL_LIMIT:
        raise refusal(f"its tensors have {sum(counts)} elements for one image, above {TOTAL_LIMIT}")
    return max(counts)


def _elements(value: ValueInfoProto) -> int:
    sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
    count: int = prod(max(side, 1) for side in sides)
    if count > ELEMENT_LIMIT or len(sides) > RANK_LIMIT:
        raise refusal(
            f"tensor {value.name[:80]!r} would have {count} elements for one image, above the "
            f"limit of {ELEMENT_LIMIT}"
        )
    return count


def _check_sources(graph: GraphProto) -> None:
    """No operator may make a tensor whose size follows from the values of an input."""
    valued = {value.name for value in graph.input}
    for node in graph.node:
        for place in SIZE_INPUTS.get(node.op_type, ()):
            if place < len(node.input) and node.input[place] in valued:
                raise refusal(
                    f"the size of what {node.op_type} makes depends on the values of an input, "
                    "so it has no bound; export with a fixed image size"
                )
        if node.op_type not in MEASURES and valued.intersection(node.input):
            valued.update(node.output)


def _skeleton(model: ModelProto) -> ModelProto:
    """The graph for one image, with inputs in place of large constants: a few bytes a node."""
    graph = GraphProto(name="skeleton")
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants:
            graph.input.append(_one_image(value))
    graph.output.extend(_any_sides(value) for value in model.graph.output)
    for tensor in model.graph.initializer:
        _put_constant(graph, tensor, tensor.name)
    for node in model.graph.node:
        large = [a.t for a in node.attribute if prod(a.t.dims) > SMALL]
        if node.op_type == "Constant" and large:
            _put_constant(graph, large[0], node.output[0])
        else:
            graph.node.append(node)
    return ModelProto(
        ir_version=max(model.ir_version, 4),  # the first in which constants are no inputs
        opset_import=model.opset_import,
        graph=graph,
    )


def _put_constant(graph: GraphProto, tensor: TensorProto, name: str) -> None:
    if prod(tensor.dims) > SMALL:
        shape = list(tensor.dims)
        graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, shape))
    else:
        graph.initializer.append(tensor)


def _one_image(value: ValueInfoProto) -> ValueInfoProto:
    sides = value.type.tensor_type.shape.dim
    shape = [side.dim_value if side.HasField("dim_value") else 1 for side in sides]
    return onnx.helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape)


def _any_sides(value: ValueInfoProto) -> ValueInfoProto:
    """Name, type and rank only: what the file claims of its sides is not believed."""
    kind = value.type.tensor_type
    shape = [None] * len(kind.shape.dim)
    return onnx.helper.make_tensor_value_info(value.name, kind.elem_type, shape)
