"""Pickles that describe impossible tensors, or cost the reader more than they are worth."""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.importing.errors import Kind
from tests.hostile.building import Op, legacy, one_tensor, saved, state_dict, torch_zip
from tests.hostile.programs import Row

WRONG = {Kind.BAD_TENSOR}
TOO_MUCH = {Kind.TOO_COMPLEX}


def named(name: str) -> Row:
    def make(_: Path) -> bytes:
        code = Op().raw(b"}").text(name).tensor((4,), (1,)).raw(b"s").end()
        return torch_zip(code, {"0": bytes(16)})

    return make, {Kind.BAD_NAME}


def described(*arguments: Any, kinds: set[Kind] = WRONG, **options: Any) -> Row:
    return (lambda _: one_tensor(*arguments, **options)), kinds


def call(path: str, kinds: set[Kind]) -> Row:
    code = Op().raw(b"}").text("w").name(path).raw(b")Rs").end()
    return (lambda _: torch_zip(code)), kinds


def sparse(_: Path) -> bytes:
    """2 KB that declare 2^40 elements."""
    indices, values = torch.tensor([[0], [0]]), torch.tensor([1.0])
    size = (1 << 20, 1 << 20)
    return saved({"w": torch.sparse_coo_tensor(indices, values, size, check_invariants=True)})


def quantised(_: Path) -> bytes:
    """As torch's own writer would put it, without its deprecated dtypes."""
    code = Op().raw(b"}").text("w").name("torch._utils._rebuild_qtensor").raw(b")Rs").end()
    return torch_zip(code)


def nested(opening: bytes, closing: bytes, depth: int = 100_000) -> Row:
    def make(_: Path) -> bytes:
        return torch_zip(b"\x80\x02" + opening * depth + closing * depth + b".")

    return make, {Kind.NO_TENSORS, Kind.DAMAGED, Kind.TOO_COMPLEX}


def deep_dictionaries(_: Path) -> bytes:
    code = Op()
    for _level in range(100_000):
        code.raw(b"}U\x01a")
    return torch_zip(code.raw(b"}" + b"s" * 100_000).end())


def laughs(wrap: bytes) -> Row:
    """Each level holds the one below it twice: 2^5000 leaves for whoever walks them all."""

    def make(_: Path) -> bytes:
        code = Op().raw(b")")
        for level in range(5000):
            code.raw(b"r" + struct.pack("<I", level) + b"j" + struct.pack("<I", level) + wrap)
        return torch_zip(Op().raw(b"}").raw(code.code[2:]).raw(b"K\x01s").end())

    return make, {Kind.NO_TENSORS, Kind.DAMAGED}


def shared_dictionaries(_: Path) -> bytes:
    """Dictionaries that hold one another under two keys, many levels deep."""
    code = Op().raw(b"}")
    for level in range(2000):
        code.raw(b"r" + struct.pack("<I", level) + b"}(U\x01aj" + struct.pack("<I", level))
        code.raw(b"U\x01bj" + struct.pack("<I", level) + b"u")
    return torch_zip(code.end())


def from_type_nest(_: Path) -> bytes:
    """A rebuild of a rebuild of a rebuild …: a call each, for a reader that recurses."""
    rebuild, tensor = "torch._tensor._rebuild_from_type_v2", "torch._tensor.Tensor"
    code = Op().raw(b")")
    for level in range(5000):
        code.raw(b"r" + struct.pack("<I", level) + b"0")
        code.raw(b"(").name(rebuild).name(tensor).raw(b"j" + struct.pack("<I", level) + b"Nt")
    return torch_zip(Op().name(rebuild).raw(code.code[2:]).raw(b"R").end())


def many_tensors(count: int, name: Callable[[int], str]) -> bytes:
    code = Op().tensor((1,), (1,), numel=1).raw(b"q\x000}(")
    pieces = [code.code]
    for number in range(count):
        text = name(number).encode()
        pieces.append(b"X" + struct.pack("<I", len(text)) + text + b"h\x00")
    return torch_zip(b"".join(pieces) + b"u.", {"0": bytes(4)})


def tied_to_one_storage(_: Path) -> bytes:
    """A megabyte that a thousand tensors share: a gigabyte if each is written out."""
    code = Op().tensor((1 << 18,), (1,), numel=1 << 18).raw(b"q\x000}(")
    for number in range(1000):
        code.text(f"w{number}").raw(b"h\x00")
    return torch_zip(code.raw(b"u").end(), {"0": bytes(1 << 20)})


def millions_of_steps(_: Path) -> bytes:
    return torch_zip(b"\x80\x02" + b"N0" * 1_500_000 + b"N.")


def giant_number(_: Path) -> bytes:
    return torch_zip(Op().raw(b"}").text("epoch").number(1 << 8_000_000).raw(b"s").end())


def decimal_number(_: Path) -> bytes:
    return torch_zip(b"L" + b"9" * 1_000_000 + b"L\n.")


def text_longer_than_file(_: Path) -> bytes:
    return torch_zip(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"abc.")


def item_of_no_dictionary(_: Path) -> bytes:
    """SETITEM on a list: what corrupted memory in torch before 2.10."""
    return torch_zip(Op().raw(b"]K\x01K\x02s").end())


def two_descriptions(_: Path) -> bytes:
    code = Op().raw(b"}").text("a").tensor((4,), (1,)).raw(b"s")
    code.text("b").tensor((4,), (1,), kind="DoubleStorage").raw(b"s")
    return torch_zip(code.end(), {"0": bytes(16)})


def climbing_key(_: Path) -> bytes:
    key = "../../../../../etc/passwd"
    return torch_zip(
        Op().raw(b"}").text("w").tensor((4,), (1,), key=key).raw(b"s").end(), {"0": bytes(16)}
    )


def cut_legacy(tenths: int) -> Row:
    def make(_: Path) -> bytes:
        content = legacy(state_dict())
        return content[: len(content) * tenths // 10]

    return make, {Kind.DAMAGED, Kind.PLAIN_PICKLE}


def not_finite(_: Path) -> bytes:
    state = state_dict()
    state["l1.weight"][0, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    return saved(state)


BIG = 1 << 40
CASES: dict[str, Row] = {
    "sparse": (sparse, {Kind.SPARSE}),
    "stride-0": (lambda _: saved({"w": torch.zeros(1).expand(1 << 20, 1 << 20)}), WRONG),
    "stride-0-once": described((2, 4), (0, 1)),
    "shape-beyond-storage": described((5,), (1,)),
    "stride-beyond-storage": described((2, 2), (3, 1)),
    "offset-beyond-storage": described((1,), (1,), offset=4),
    "negative-offset": described((1,), (1,), offset=-1),
    "negative-side": described((-4,), (1,)),
    "negative-stride": described((4,), (-1,)),
    "2^40-items": described((BIG,), (1,)),
    "overflowing-shape": described((1 << 32, 1 << 32), (1 << 32, 1)),
    "2^70-side": described((1 << 70,), (1,)),
    "nan-side": described((float("nan"),), (1,)),
    "text-side": described(("4",), (1,)),
    "true-side": described((True,), (1,)),
    "more-sides-than-strides": described((2, 2), (1,)),
    "9-dimensions": described((1,) * 9, (1,) * 9),
    "storage-shorter": described((4,), (1,), storage=bytes(15)),
    "storage-longer": described((4,), (1,), storage=bytes(17)),
    "numel-negative": described((4,), (1,), numel=-4, kinds={Kind.DAMAGED}),
    "numel-2^62": described((4,), (1,), numel=1 << 62),
    "numel-no-number": described((4,), (1,), numel=4.0, kinds={Kind.DAMAGED}),
    "complex": described((4,), (1,), kind="ComplexFloatStorage", kinds={Kind.DTYPE}),
    "quantised-storage": described((4,), (1,), kind="QInt8Storage", kinds={Kind.QUANTISED}),
    "unknown-storage": described((4,), (1,), kind="MagicStorage", kinds={Kind.DTYPE}),
    "quantised": (quantised, {Kind.QUANTISED}),
    "meta": (lambda _: saved({"w": torch.empty(4, device="meta")}), {Kind.META}),
    "subclass": call("torch._utils._rebuild_wrapper_subclass", {Kind.SUBCLASS}),
    "nested-tensor": call("torch._utils._rebuild_nested_tensor", {Kind.SUBCLASS}),
    "rebuild-without-arguments": call("torch._utils._rebuild_tensor_v2", {Kind.DAMAGED}),
    "rebuild-nest": (from_type_nest, {Kind.TOO_COMPLEX, Kind.DAMAGED}),
    "float8": (
        lambda _: saved({"w": torch.zeros(4, dtype=torch.float8_e4m3fn)}), {Kind.DTYPE}),
    "uint16": (lambda _: saved({"w": torch.zeros(4, dtype=torch.uint16)}), {Kind.DTYPE}),
    "conjugated": (
        lambda _: saved({"w": torch.zeros(4, dtype=torch.complex64).conj()}), {Kind.DTYPE}),
    "negated": (
        lambda _: saved({"w": torch.zeros(4, dtype=torch.complex64).conj().imag}),
        {Kind.DTYPE, Kind.SUBCLASS, Kind.BAD_TENSOR}),
    "deep-lists": nested(b"]", b"a"),
    "deep-tuples": nested(b"(", b"t"),
    "deep-dictionaries": (deep_dictionaries, {Kind.NO_TENSORS}),
    "memo-tuples": laughs(b"\x86"),
    "memo-lists": laughs(b"2(l"),
    "shared-dictionaries": (shared_dictionaries, {Kind.NO_TENSORS}),
    "million-tensors": (lambda _: many_tensors(1_000_000, str), TOO_MUCH),
    "30000-tensors": (lambda _: many_tensors(30_000, str), TOO_MUCH),
    "9000-long-names": (lambda _: many_tensors(9_000, lambda n: f"{n:0500}"), TOO_MUCH),
    "one-storage-1000-times": (tied_to_one_storage, TOO_MUCH),
    "millions-of-steps": (millions_of_steps, TOO_MUCH),
    "giant-number": (giant_number, {Kind.NO_TENSORS}),
    "decimal-number": (decimal_number, {Kind.DAMAGED}),
    "text-longer-than-file": (text_longer_than_file, {Kind.DAMAGED}),
    "item-of-no-dictionary": (item_of_no_dictionary, {Kind.DAMAGED}),
    "one-storage-two-types": (two_descriptions, {Kind.DAMAGED}),
    "climbing-key": (climbing_key, {Kind.DAMAGED}),
    "long-name": named("x" * 10_000),
    "control-name": named("a\x1b[31mb"),
    "newline-name": named("a\nb"),
    "direction-name": named("a\u202eb"),
    "surrogate-name": (named("\ud800")[0], {Kind.BAD_NAME, Kind.DAMAGED}),
    "empty-name": named(""),
    "header's-own-name": named("__metadata__"),
    "unicode-name": ((lambda _: saved({"층.weight": torch.zeros(2, 2)})), set()),
    "single-tensor": (lambda _: saved(torch.zeros(3)), {Kind.NO_TENSORS}),
    "list-of-tensors": (lambda _: saved([torch.zeros(3)]), {Kind.NO_TENSORS}),
    "numbers-only": (lambda _: saved({"a": 1}), {Kind.NO_TENSORS}),
    "empty-dictionary": (lambda _: saved(OrderedDict()), {Kind.NO_TENSORS}),
    "optimizer-only": (
        lambda _: saved({"state": {0: {"step": torch.zeros(1)}}}), {Kind.NO_TENSORS}),
    "plain-dictionary": (lambda _: pickle.dumps({"w": [1.0]}), {Kind.PLAIN_PICKLE}),
    "not-finite": (not_finite, set()),
    **{f"legacy-cut-at-{tenths}0-percent": cut_legacy(tenths) for tenths in range(1, 10)},
}  # fmt: skip
