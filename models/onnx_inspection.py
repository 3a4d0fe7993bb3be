"""An ONNX file, read and checked before any runtime sees it.

The file is data of a stranger. What it declares is compared with what it holds, and everything
that could reach other files, other code, or more memory than its size promises is refused.
Run it where a parser may fail: parsing is that of the `onnx` library, in C.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Final

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from models.errors import CheckpointError
from models.onnx_graph import EXPORT, FLOATS, WHOLE, GraphFacts, Port, refusal
from models.onnx_operators import ALLOWED
from models.onnx_sizes import check_sizes
from models.onnx_wire import check_wire
from models.onnx_wiring import last_operators, table_rows

FILE_BYTES_LIMIT: Final = (1 << 31) - 1  # of protobuf
NODE_LIMIT: Final = 20_000
PORT_LIMIT: Final = 64
RANK_LIMIT: Final = 8
NAME_LIMIT: Final = 512
DEPTH_LIMIT: Final = 16
OPSET_FIRST: Final = 7  # the oldest that onnxruntime promises to run
IR_FIRST: Final = 3

ITEM_BITS: Final[dict[int, int]] = {
    TensorProto.FLOAT: 32,
    TensorProto.DOUBLE: 64,
    TensorProto.FLOAT16: 16,
    TensorProto.BFLOAT16: 16,
    TensorProto.INT8: 8,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.UINT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.BOOL: 8,
}
"""Bits of an element, for the types that a tensor may have."""

NUMPY_NAMES: Final[dict[int, str]] = {
    kind: {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())
    for name, kind in TensorProto.DataType.items()
    if kind in ITEM_BITS
}

OTHER_KINDS: Final = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"PK\x03\x04", f"a zip archive, as torch.save writes; export with {EXPORT}"),
    (b"\x80", f"a pickle; export with {EXPORT}"),
    (b"<", f"a web page or XML, not a model; download the file itself or export with {EXPORT}"),
    (b"{", f"JSON, not a model; export with {EXPORT}"),
)


def inspect(content: bytes) -> GraphFacts:
    """Read an ONNX file. Raises CheckpointError, whose sentence says what to export instead."""
    model = _parse(content)
    graph = model.graph
    _check_external(model)
    opset = _check_versions(model)
    _check_nodes(model)
    size = sum(_check_tensor(tensor) for tensor in _tensors(graph))
    inputs, outputs = _ports(graph)
    return GraphFacts(
        opset=opset,
        producer=f"{model.producer_name} {model.producer_version}".strip()[:100],
        inputs=inputs,
        outputs=outputs,
        operators=dict(sorted(Counter(node.op_type for node in graph.node).items())),
        parameter_bytes=size,
        peak_elements=check_sizes(model),
        last_operators=last_operators(graph),
        table_rows=table_rows(graph, {port.name for port in inputs}),
    )


def _parse(content: bytes) -> ModelProto:
    if len(content) > FILE_BYTES_LIMIT:
        raise refusal(f"it has {len(content)} bytes, above protobuf's limit of {FILE_BYTES_LIMIT}")
    for start, kind in OTHER_KINDS:
        if content.startswith(start):
            raise CheckpointError(f"this is no ONNX file but {kind}")
    check_wire(content)
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise refusal("it is cut off or no protobuf message") from error
    if not model.graph.node or not model.ir_version:
        raise refusal("it holds no graph")
    return model


def _check_external(model: ModelProto) -> None:
    """First of all, since a file without its weights is what people upload most."""
    tensors = list(_tensors(model.graph))
    for function in model.functions:
        tensors += _node_tensors(function.node, 0)
    for info in model.training_info:
        tensors += [*_tensors(info.initialization), *_tensors(info.algorithm)]
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            location = next((e.value for e in tensor.external_data if e.key == "location"), "?")
            raise CheckpointError(
                f"tensor {tensor.name[:80]!r} lives in another file ({location[:80]!r}), and a "
                "model is one file here. Export it with its weights inside: "
                f"{EXPORT}, or load it with onnx.load and save it with onnx.save"
            )


def _check_versions(model: ModelProto) -> int:
    """The opset of ai.onnx; the format's version and every other domain are checked too."""
    if not IR_FIRST <= model.ir_version <= onnx.IR_VERSION:
        raise refusal(
            f"its IR version is {model.ir_version}, and {IR_FIRST} to {onnx.IR_VERSION} are read"
        )
    used = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if used:
        raise refusal(
            f"operators of {min(map(str, used))[:80]!r} are custom, and code is never loaded"
        )
    if model.functions:
        raise refusal("it defines functions of its own; export with optimize=True, or inline them")
    if model.training_info:
        raise refusal("it holds training graphs; export the generator in eval mode")
    last = onnx.defs.onnx_opset_version()
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if not OPSET_FIRST <= opset <= last:
        raise refusal(f"its opset is {opset}, and {OPSET_FIRST} to {last} are read")
    return opset


def _check_nodes(model: ModelProto) -> None:
    graph = model.graph
    if len(graph.node) > NODE_LIMIT or len(graph.initializer) > NODE_LIMIT:
        raise refusal(f"it has more than {NODE_LIMIT} nodes or constants")
    if graph.sparse_initializer:
        raise refusal("it holds sparse constants; make them dense")
    for node in graph.node:
        if node.op_type not in ALLOWED:
            raise refusal(
                f"operator {node.op_type[:80]!r} is not one that a generator may use: "
                "control flow, random numbers and sizes that depend on values are refused. "
                "Export in eval mode, with noise as an input"
            )
        for attribute in node.attribute:
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                raise refusal(f"operator {node.op_type} carries a graph inside")
            if attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
                raise refusal("it holds sparse constants; make them dense")


def _tensors(graph: GraphProto, depth: int = 0) -> Iterator[TensorProto]:
    """Every constant of a graph and of the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node, depth)


def _node_tensors(nodes: Iterator[NodeProto], depth: int) -> Iterator[TensorProto]:
    if depth > DEPTH_LIMIT:
        raise refusal(f"graphs are nested more than {DEPTH_LIMIT} deep")
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph, depth + 1)


def _check_tensor(tensor: TensorProto) -> int:
    """Bytes of a constant, once what it declares agrees with what it holds."""
    if not tensor.data_type and not tensor.dims:
        return 0  # an attribute of another kind
    name = tensor.name[:80]
    bits = ITEM_BITS.get(tensor.data_type, 0)
    if not bits:
        raise refusal(f"constant {name!r} has a type that is not of numbers")
    if len(tensor.dims) > RANK_LIMIT or any(side < 0 for side in tensor.dims):
        raise refusal(f"constant {name!r} has no possible shape")
    count: int = prod(tensor.dims)
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    held = sum(len(field) for field in (*fields, tensor.uint64_data))
    if tensor.HasField("raw_data"):
        held += len(tensor.raw_data) * 8 // bits
    if held != count:
        raise refusal(f"constant {name!r} declares {count} elements and holds {held}")
    return count * bits // 8


def _ports(graph: GraphProto) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if not inputs or not graph.output:
        raise refusal("it has no input or no output")
    if len(inputs) > PORT_LIMIT or len(graph.output) > PORT_LIMIT:
        raise refusal(f"it has more than {PORT_LIMIT} inputs or outputs")
    return tuple(map(_port, inputs)), tuple(map(_port, graph.output))


def _port(value: ValueInfoProto) -> Port:
    kind = value.type.tensor_type
    if not isinstance(value.name, str) or not 0 < len(value.name) <= NAME_LIMIT:
        raise refusal("an input or output has no name that can be written")
    dtype = NUMPY_NAMES.get(kind.elem_type, "")
    if dtype not in (*FLOATS, *WHOLE, "bool"):
        raise refusal(f"input or output {value.name[:80]!r} is no tensor of numbers")
    if not kind.HasField("shape") or len(kind.shape.dim) > RANK_LIMIT:
        raise refusal(f"input or output {value.name[:80]!r} has no shape of at most {RANK_LIMIT}")
    sides = (side.dim_value if side.HasField("dim_value") else None for side in kind.shape.dim)
    return Port(name=value.name, dtype=dtype, shape=tuple(sides))
