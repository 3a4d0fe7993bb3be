"""Descriptions that ask for too much or make no sense: refused at once, by name, without memory."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from models.declared.document import parse_options
from models.declared.import_spec import read_import_spec
from models.declared.walk import trace
from models.errors import SpecError
from models.spec import ImageShape, Weights

IMAGE = ImageShape(height=28, width=28, channels=1)
GRID = [{"type": "linear", "out": 8 * 7 * 7}, {"type": "reshape", "shape": [8, 7, 7]}]


def conv(**fields) -> dict[str, object]:
    return {"type": "conv", "out": 8, "kernel": 3} | fields


def nested(depth: int) -> list[object]:
    layers: list[object] = ["relu"]
    for _ in range(depth):
        layers = [{"type": "residual", "layers": layers}]
    return layers


BIG = [{"type": "linear", "out": 1 << 20}, {"type": "reshape", "shape": [64, 128, 128]}]
DEEP_PARALLEL = {"type": "parallel", "branches": [[], []] * 32}

REFUSED: dict[str, tuple[list[object], str]] = {
    "a million layers": (["relu"] * 10**6, "more than 20000 values"),
    "too many layers": (["relu"] * 600, "layers: List should have at most 512"),
    "too many in all": (
        [{"type": "residual", "layers": ["relu"] * 300}, *["relu"] * 300],
        r"layers.21[0-9]: more than 512 layers",
    ),
    "deep": (nested(9), r"layers\.0\.layers\.0.*nested deeper than 8"),
    "deeper than the parser": (nested(10**4), "too deep"),
    "weights": (
        [{"type": "linear", "out": 99}, {"type": "linear", "out": 1 << 24}],
        r"layers\.1: with it there are \d+ weights"),
    "weights of a convolution": (
        [*GRID, conv(out=65_536, kernel=64, padding=64)], r"layers\.2: with it there are"),
    "activations": (
        [*BIG, {"type": "upsample", "scale": 16}], r"layers\.2: it gives \[64, 2048, 2048\], \d+"),
    "sides": (
        [*GRID, *[{"type": "upsample", "scale": [64, 1]}] * 2],
        r"layers\.3: it gives \[8, 28672, 7\]"),
    "doubling": (
        [*GRID, *[DEEP_PARALLEL] * 4], "its ways give"),
    "work": (
        [*BIG, *[conv(out=64, kernel=31, padding=15)] * 30], r"multiplications, of at most"),
    "unfolded": (
        [*BIG, conv(out=1, kernel=63, padding=31)], r"layers\.2: it unfolds \d+ numbers"),
    "negative": ([{"type": "linear", "out": -1}], r"layers\.0\.out: .*greater than or equal to 1"),
    "zero": ([*GRID, conv(kernel=0)], r"layers\.2\.kernel\.0: .*greater than or equal to 1"),
    "huge": ([{"type": "linear", "out": 10**30}], r"layers\.0\.out"),
    "text for a number": ([{"type": "linear", "out": "10"}], r"layers\.0\.out: .*valid integer"),
    "truth for a number": ([{"type": "linear", "out": True}], r"layers\.0\.out: .*valid integer"),
    "fraction": ([{"type": "linear", "out": 10.5}], r"layers\.0\.out"),
    "nan": ([{"type": "batch_norm", "eps": float("nan")}], r"layers\.0\.eps: .*finite"),
    "infinite": ([{"type": "leaky_relu", "slope": float("inf")}], r"layers\.0\.slope"),
    "no eps": ([{"type": "batch_norm", "eps": 0}], r"layers\.0\.eps: .*greater than 0"),
    "negative eps": ([{"type": "batch_norm", "eps": -1e-5}], r"layers\.0\.eps"),
    "three sides": ([*GRID, conv(kernel=[3, 3, 3])], r"layers\.2\.kernel: List should have at mo"),
    "unknown layer": (["attention"], r"layers\.0: .*'attention'.* expected tags: 'linear'"),
    "unknown option": ([{"type": "linear", "out": 3, "units": 3}], r"layers\.0\.units: Extra"),
    "no type": ([{"out": 3}], r"layers\.0: Unable to extract tag"),
    "no layer": ([5], r"layers\.0"),
    "inside": (
        [{"type": "parallel", "branches": [[], ["relu", {"type": "linear"}]]}],
        r"layers\.0\.branches\.1\.1\.out: Field required"),
    "vanishing": (
        [*GRID, conv(kernel=9)], r"layers\.2 \(conv\): its kernel \[9, 9\] leaves .* \[-1, -1\]"),
    "flat into conv": (
        [conv()], r"layers\.0 \(conv\): found \[10\], wanted \[channels, height, width\]"),
    "stated in": (
        [*GRID, conv(**{"in": 16})], r'layers\.2 \(conv\): "in" is 16, found 8'),
    "groups": ([*GRID, conv(groups=3)], "8 channels in and 8 out, in 3 groups"),
    "group norm": ([*GRID, {"type": "group_norm", "groups": 3}], "multiple of 3 groups"),
    "shuffle": ([*GRID, {"type": "pixel_shuffle", "factor": 3}], "found 8 channels, wanted a mult"),
    "reshape": (
        [{"type": "linear", "out": 100}, {"type": "reshape", "shape": [3, 6, 6]}],
        r"layers\.1 \(reshape\): found \[100\], 100 numbers, wanted \[3, 6, 6\]"),
    "two wildcards": ([{"type": "reshape", "shape": [-1, -1]}], "more than one of -1"),
    "output padding": (
        [*GRID, {"type": "conv_transpose", "out": 1, "kernel": 3, "output_padding": 1}],
        "output_padding 1 must be below stride or dilation"),
    "scale and size": (
        [*GRID, {"type": "upsample", "scale": 2, "size": [14, 14]}], "either scale or size"),
    "corners": ([*GRID, {"type": "upsample", "scale": 2, "align_corners": True}], "align_corners"),
    "shortcut": (
        [*GRID, {"type": "residual", "layers": [conv(padding=1, out=4)]}],
        r"layers\.2: add of \[4, 7, 7\] and, from way 1, \[8, 7, 7\]; they must be equal"),
    "branches": (
        [*GRID, {"type": "parallel", "branches": [[], [conv()]]}],
        r"layers\.2: concat of \[8, 7, 7\] and, from way 1, \[8, 5, 5\]; .* behind the first"),
    "one pixel": (
        [{"type": "reshape", "shape": [10, 1, 1]}, "instance_norm"], "more than one pixel"),
    "reflection": (
        [*GRID, {"type": "pad", "sides": 7, "mode": "reflect"}], "reflects"),
    "crop": ([*GRID, {"type": "crop", "size": [8, 7]}], r"found 7 x 7 pixels, wanted \[8, 7\]"),
    "clamp": ([{"type": "clamp", "low": 1, "high": 0}], r"layers\.0 \(clamp\): low 1\.0 must be"),
    "affine": ([*GRID, {"type": "affine", "scale": [1, 2, 3]}], "3 numbers, wanted 1 or one for"),
    "image": (
        GRID, r"the last layer gives \[8, 7, 7\] where an image of 28 x 28 x 1 as chw is \[1, 28,"),
    "nothing to learn": (
        [{"type": "reshape", "shape": [1, 2, 5]}, {"type": "upsample", "size": [28, 28]}],
        "nothing to import"),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("layers", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_description_is_refused_by_name(layers, sentence):
    """And with a few megabytes of memory, whatever it asked for."""
    tracemalloc.start()
    try:
        with pytest.raises(SpecError, match=sentence):
            trace(parse_options({"inputs": ["latent"], "layers": layers}), IMAGE, 10, 0)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[" * 10**5, "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"null", "import spec"),
        (b"[]", "import spec"),
        (b" " * (1 << 20) + b"{}", "larger than"),
    ],
)
def test_an_import_spec_that_is_no_document_is_refused(content, sentence):
    with pytest.raises(SpecError, match=sentence):
        read_import_spec(content)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": 1}, "kind: Extra inputs"),
        ({"name": "../a"}, "name: String should match"),
        ({"image": {"height": 99999, "width": 1, "channels": 2}}, r"image\.height: .*; image\.ch"),
        ({"classes": [4000, 4000]}, "16000000 classes"),
        ({"classes": 10**12}, "1000000000000 classes"),
        ({"classes": -1}, "-1 classes"),
        ({"classes": [["a", "b"], True]}, "classes are names, a number, or a list"),
        ({"classes": ["a", "a"]}, "must differ"),
        ({"latent_size": 1e9}, "latent_size"),
        ({"value_range": [0, 1, 2]}, "value_range"),
        ({"value_range": [1, -1]}, "lowest, highest"),
        ({"value_range": "tanh"}, "value_range"),
        ({"tensors": {"order": "random"}}, r"tensors\.order"),
        ({"tensors": {"names": {f"layers.{n}": "a" for n in range(600)}}}, "at most 512 names"),
        ({"options": {"layers": []}}, "inputs: Field required"),
    ],
)
def test_an_import_spec_that_says_nothing_possible_is_refused(fields, sentence):
    document = {
        "name": "a", "family": "gan", "licence": "MIT", "latent_size": 2, "value_range": [-1, 1],
        "image": {"height": 1, "width": 1, "channels": 1},
        "options": {"inputs": ["latent"], "layers": [{"type": "linear", "out": 1}]},
    }  # fmt: skip
    content = json.dumps(document | fields).encode()
    with pytest.raises(SpecError, match=sentence):
        read_import_spec(content).model_spec(Weights(sha256="0" * 64, bytes=1))
