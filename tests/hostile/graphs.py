"""ONNX graphs that nobody should run, and the sentence that each is refused with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.onnx_graphs import FLOAT, INT64, external, ints, number, painter


def changed(change: Callable[[onnx.ModelProto], None], **fields) -> onnx.ModelProto:
    graph = painter([1, 6, 5], **fields)
    change(graph)
    return graph


def with_node(kind: str, inputs: list[str], *constants: TensorProto, **attributes):
    """A good graph with one more node, whose output nobody reads."""

    def change(graph: onnx.ModelProto) -> None:
        graph.graph.node.append(helper.make_node(kind, inputs, ["extra"], **attributes))
        graph.graph.initializer.extend(constants)

    return changed(change)


def inner_graph(*constants: TensorProto) -> onnx.GraphProto:
    out = helper.make_tensor_value_info("inner", FLOAT, [1])
    return helper.make_graph(
        [helper.make_node("Identity", ["c"], ["inner"])], "inside", [], [out], list(constants)
    )


def outside(name: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    return tensor


def in_a_branch() -> onnx.ModelProto:
    branch = inner_graph(outside("c"))
    return with_node("If", ["cond"], then_branch=branch, else_branch=branch)


def in_a_function() -> onnx.ModelProto:
    def change(graph: onnx.ModelProto) -> None:
        node = helper.make_node("Constant", [], ["c"], value=outside("c"))
        opsets = [helper.make_opsetid("", 18)]
        graph.functions.append(helper.make_function("own", "f", [], ["c"], [node], opsets))

    return changed(change)


def in_sparse_values() -> onnx.ModelProto:
    def change(graph: onnx.ModelProto) -> None:
        sparse = graph.graph.sparse_initializer.add()
        sparse.values.CopyFrom(outside("c"))

    return changed(change)


def nameless_location() -> onnx.ModelProto:
    """Marked external without saying where."""

    def change(graph: onnx.ModelProto) -> None:
        graph.graph.initializer[0].data_location = TensorProto.EXTERNAL

    return changed(change)


def in_memory_marker() -> onnx.ModelProto:
    """onnxruntime's own word for "the bytes are at this address of the process"."""

    def change(graph: onnx.ModelProto) -> None:
        entry = graph.graph.initializer[0].external_data.add()
        entry.key, entry.value = "location", "*/_ORT_MEM_ADDR_/*"

    return changed(change)


EXTERNAL = {
    "initializer": external(painter([1, 6, 5])),
    "branch": in_a_branch(),
    "function": in_a_function(),
    "sparse": in_sparse_values(),
    "attribute": with_node("Constant", [], value=outside("c")),
    "no location": nameless_location(),
    "memory address": in_memory_marker(),
}


def declares(dims: list[int], raw: bytes = b"\0" * 16, **fields) -> onnx.ModelProto:
    def change(graph: onnx.ModelProto) -> None:
        tensor = TensorProto(name="bomb", data_type=FLOAT, dims=dims, **fields)
        if raw:
            tensor.raw_data = raw
        graph.graph.initializer.append(tensor)

    return changed(change)


def huge(kind: str, inputs: list[str], *constants: TensorProto, **attributes) -> onnx.ModelProto:
    return with_node(kind, inputs, *constants, **attributes)


def opset(version: int) -> Callable[[onnx.ModelProto], None]:
    def change(graph: onnx.ModelProto) -> None:
        graph.opset_import[0].version = version

    return change


def ir(version: int) -> Callable[[onnx.ModelProto], None]:
    def change(graph: onnx.ModelProto) -> None:
        graph.ir_version = version

    return change


def cleared(field: str) -> Callable[[onnx.ModelProto], None]:
    def change(graph: onnx.ModelProto) -> None:
        graph.graph.ClearField(field)

    return change


def many_nodes() -> onnx.ModelProto:
    def change(graph: onnx.ModelProto) -> None:
        node = graph.graph.node[-1]
        for _ in range(30_000):
            graph.graph.node.append(node)

    return changed(change)


def valued(*nodes: onnx.NodeProto, constants: tuple[TensorProto, ...] = ()) -> onnx.ModelProto:
    """A size that is computed of the latent's values."""

    def change(graph: onnx.ModelProto) -> None:
        graph.graph.node.append(helper.make_node("Cast", ["z"], ["size"], to=INT64))
        graph.graph.node.append(helper.make_node("Reshape", ["size", "all"], ["sides"]))
        graph.graph.node.extend(nodes)
        graph.graph.initializer.extend([ints("all", -1), *constants])

    return changed(change)


def custom(domain: str) -> onnx.ModelProto:
    def change(graph: onnx.ModelProto) -> None:
        graph.graph.node[0].domain = domain
        graph.opset_import.append(helper.make_opsetid(domain, 1))

    return changed(change)


def nested(depth: int) -> onnx.ModelProto:
    graph = inner_graph(number("c", 1.0))
    for _ in range(depth):
        outer = inner_graph(number("c", 1.0))
        outer.node[0].attribute.append(helper.make_attribute("body", graph))
        graph = outer
    return with_node("Loop", ["", ""], body=graph)


def typed(kind: int) -> Callable[[onnx.ModelProto], None]:
    def change(graph: onnx.ModelProto) -> None:
        graph.graph.input[0].type.tensor_type.elem_type = kind

    return change


def cycle(graph: onnx.ModelProto) -> None:
    graph.graph.node[0].input[0] = "images"


def text_constant(graph: onnx.ModelProto) -> None:
    graph.graph.initializer.append(
        TensorProto(name="words", data_type=TensorProto.STRING, dims=[1], string_data=[b"x"])
    )


MANY = 1 << 20
REFUSED = {
    "custom domain": (custom("com.example"), "custom, and code is never loaded"),
    "contrib domain": (custom("com.microsoft"), "'com.microsoft' are custom"),
    "Loop": (nested(2), "'Loop' is not one"),
    "nested 20 deep": (nested(20), "nested more than 16"),
    "If": (
        with_node("If", ["c"], then_branch=inner_graph(), else_branch=inner_graph()),
        "'If' is not one",
    ),
    "random": (with_node("RandomNormal", [], shape=[4]), "'RandomNormal'.*noise as an input"),
    "size of values": (with_node("NonZero", ["z"]), "'NonZero' is not one"),
    "unknown": (with_node("PyOp", ["z"]), "'PyOp' is not one"),
    "declared 2^40": (declares([MANY, MANY]), f"declares {MANY * MANY} elements and holds 4"),
    "declared, empty": (declares([MANY, MANY], raw=b""), "holds 0"),
    "negative": (declares([-1, 4]), "no possible shape"),
    "rank 100": (declares([1] * 100, raw=b"\0" * 4), "no possible shape"),
    "strings": (changed(text_constant), "not of numbers"),
    "ConstantOfShape": (
        huge("ConstantOfShape", ["s"], ints("s", MANY, MANY)),
        f"{MANY * MANY} elements for one image",
    ),
    "ConstantOfShape of a Constant": (
        changed(
            lambda graph: graph.graph.node.extend(
                [
                    helper.make_node("Constant", [], ["s"], value_ints=[MANY, MANY]),
                    helper.make_node("ConstantOfShape", ["s"], ["extra"]),
                ]
            )
        ),
        "above the limit",
    ),
    "Expand": (huge("Expand", ["z", "s"], ints("s", MANY, MANY, 1, 1)), "above the limit"),
    "Tile": (huge("Tile", ["z", "s"], ints("s", MANY, MANY)), "above the limit"),
    "Range": (
        huge("Range", ["a", "b", "c"], number("a", 0), number("b", 2.0**40), number("c", 1)),
        "above the limit",
    ),
    "Resize": (
        huge("Resize", ["images", "", "", "s"], ints("s", 1, 1, MANY, MANY), mode="nearest"),
        "above the limit",
    ),
    "Resize by scales": (
        huge(
            "Resize",
            ["images", "", "s"],
            numpy_helper.from_array(np.array([1, 1, 1e6, 1e6], np.float32), "s"),
            mode="nearest",
        ),
        "above the limit",
    ),
    "Pad": (huge("Pad", ["z", "s"], ints("s", 0, 0, MANY, MANY)), "above the limit"),
    "OneHot": (
        huge(
            "OneHot",
            ["i", "d", "v"],
            ints("i", *range(1000)),
            ints("d", 1 << 40),
            numpy_helper.from_array(np.zeros(2, np.float32), "v"),
        ),
        "above the limit",
    ),
    "broadcast": (
        changed(
            lambda graph: (
                graph.graph.initializer.extend(
                    [
                        numpy_helper.from_array(np.zeros((1 << 18, 1), np.float32), "tall"),
                        numpy_helper.from_array(np.zeros((1, 1 << 18), np.float32), "wide"),
                    ]
                ),
                graph.graph.node.append(helper.make_node("Add", ["tall", "wide"], ["extra"])),
            )
        ),
        "above the limit",
    ),
    "size of the latent": (
        valued(helper.make_node("ConstantOfShape", ["sides"], ["extra"])),
        "depends on the values of an input",
    ),
    "size of the latent, hidden": (
        valued(
            helper.make_node("Add", ["sides", "many"], ["more"]),
            helper.make_node("Expand", ["z", "more"], ["extra"]),
            constants=(ints("many", MANY),),
        ),
        "depends on the values of an input",
    ),
    "opset 5": (changed(opset(5)), "its opset is 5"),
    "opset 500": (changed(opset(500)), "its opset is 500"),
    "IR 2": (changed(ir(2)), "its IR version is 2"),
    "IR 99": (changed(ir(99)), "its IR version is 99"),
    "no nodes": (changed(cleared("node")), "no graph"),
    "no inputs": (changed(cleared("input")), "no input or no output"),
    "no outputs": (changed(cleared("output")), "no input or no output"),
    "no constants": (changed(cleared("initializer")), "not valid"),
    "30,000 nodes": (many_nodes(), "more than 20000 nodes"),
    "text input": (changed(typed(TensorProto.STRING)), "no tensor of numbers"),
    "wrong type": (changed(typed(TensorProto.BOOL)), "not valid"),
    "cycle": (changed(cycle), "not valid"),
}
