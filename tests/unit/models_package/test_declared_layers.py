"""Every layer type of a declared network against the same module of torch.nn written by hand."""

from __future__ import annotations

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn

from models.declared.document import parse_options
from models.declared.layers import LAYER_TYPES, Layers
from models.declared.network import DeclaredGenerator
from models.declared.shapes import MisfitError, effect
from models.declared.walk import trace
from models.errors import SpecError
from models.spec import ImageShape

SMALL = (6, 5, 4)


def declared(
    layers: list[object], shape: tuple[int, ...], out: tuple[int, int, int]
) -> DeclaredGenerator:
    """Latents reshaped to `shape`, a layer with weights so that there are some, then `layers`."""
    first = {"type": "prelu"}
    start = [{"type": "reshape", "shape": list(shape)}, first]
    options = parse_options({"inputs": [{"type": "latent", "layers": start}], "layers": layers})
    channels, height, width = out
    image = ImageShape.model_construct(height=height, width=width, channels=channels)
    return DeclaredGenerator(image, prod(shape), 0, options)


def randomised(module: nn.Module) -> nn.Module:
    """Weights and statistics drawn, so that no norm is the identity."""
    stream = torch.Generator().manual_seed(1)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=stream) + 0.1)
            if "mean" in name or "weight" in name:
                tensor.sub_(0.6)
    return module.eval()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 8, 3, 1, 1))
        self.shortcut = nn.Sequential(nn.Conv2d(6, 8, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class PlainResidual(nn.Module):
    """Starts with an activation: one that overwrote its input would break the shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LeakyReLU(0.3), nn.Conv2d(6, 6, 1), nn.LeakyReLU(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x


class Parallel(nn.Module):
    def __init__(self, merge: str) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(6, 3, 1), nn.Tanh()), nn.Sequential(nn.Conv2d(6, 3, 3, 1, 1))]
        )
        self.merge = merge

    def forward(self, x: Tensor) -> Tensor:
        first, second = (branch(x) for branch in self.branches)
        if self.merge == "concat":
            return torch.cat([first, second], 1)
        return first + second if self.merge == "add" else first * second


class PerChannel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        scale = torch.arange(1.0, 7.0).view(1, 6, 1, 1)
        return x * scale + 0.5


class PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt((x**2).mean(1, keepdim=True) + 1e-8)


class Cut(nn.Module):
    def __init__(self, top: int, left: int) -> None:
        super().__init__()
        self.top, self.left = top, left

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, self.top : self.top + 2, self.left : self.left + 3]


def branches(merge: str) -> dict[str, object]:
    ways = [
        [{"type": "conv", "out": 3, "kernel": 1}, "tanh"],
        [{"type": "conv", "out": 3, "kernel": 3, "padding": 1}],
    ]
    return {"type": "parallel", "branches": ways, "merge": merge}


CASES: list[tuple[object, nn.Module]] = [
    ({"type": "linear", "out": 7}, nn.Linear(4, 7)),
    ({"type": "linear", "out": 7, "in": 4, "bias": False}, nn.Linear(4, 7, bias=False)),
    ({"type": "conv", "out": 8, "kernel": 3}, nn.Conv2d(6, 8, 3)),
    (
        {"type": "conv", "out": 4, "kernel": [3, 2], "stride": [2, 1], "padding": [1, 0],
         "dilation": [1, 2], "groups": 2, "bias": False},
        nn.Conv2d(6, 4, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=False),
    ),
    (
        {"type": "conv_transpose", "out": 8, "kernel": 4, "stride": 2, "padding": 1},
        nn.ConvTranspose2d(6, 8, 4, 2, 1),
    ),
    (
        {"type": "conv_transpose", "out": 4, "kernel": [3, 2], "stride": [3, 2], "padding": [1, 0],
         "output_padding": [2, 1], "dilation": [2, 1], "groups": 2, "bias": False},
        nn.ConvTranspose2d(6, 4, (3, 2), (3, 2), (1, 0), (2, 1), 2, False, (2, 1)),
    ),
    ({"type": "upsample", "scale": 2}, nn.Upsample(scale_factor=2)),
    ({"type": "upsample", "scale": [1, 3]}, nn.Upsample(scale_factor=(1, 3))),
    ({"type": "upsample", "size": [7, 9]}, nn.Upsample((7, 9))),
    (
        {"type": "upsample", "scale": 2, "mode": "bilinear"},
        nn.Upsample(scale_factor=2, mode="bilinear"),
    ),
    (
        {"type": "upsample", "scale": 2, "mode": "bilinear", "align_corners": True},
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    ),
    (
        {"type": "upsample", "size": [9, 3], "mode": "bicubic"},
        nn.Upsample((9, 3), mode="bicubic"),
    ),
    ({"type": "pad", "sides": 1}, nn.ZeroPad2d(1)),
    ({"type": "pad", "sides": [1, 2, 0, 3], "mode": "reflect"}, nn.ReflectionPad2d((1, 2, 0, 3))),
    ({"type": "pad", "sides": [5, 0, 1, 0], "mode": "replicate"},
     nn.ReplicationPad2d((5, 0, 1, 0))),
    ({"type": "crop", "size": [2, 3]}, Cut(1, 0)),
    ({"type": "crop", "size": [2, 3], "anchor": "first"}, Cut(0, 0)),
    ("batch_norm", nn.BatchNorm2d(6)),
    ({"type": "batch_norm", "eps": 0.8}, nn.BatchNorm2d(6, 0.8)),
    ({"type": "batch_norm", "affine": False}, nn.BatchNorm2d(6, affine=False)),
    ("instance_norm", nn.InstanceNorm2d(6)),
    (
        {"type": "instance_norm", "eps": 0.1, "affine": True, "running_stats": True},
        nn.InstanceNorm2d(6, 0.1, affine=True, track_running_stats=True),
    ),
    ("layer_norm", nn.LayerNorm([6, 5, 4])),
    ({"type": "layer_norm", "axes": 1, "eps": 0.1, "bias": False},
     nn.LayerNorm(4, 0.1, bias=False)),
    ({"type": "group_norm", "groups": 3, "eps": 0.1}, nn.GroupNorm(3, 6, 0.1)),
    ({"type": "group_norm", "groups": 1, "affine": False}, nn.GroupNorm(1, 6, affine=False)),
    ("pixel_norm", PixelNorm()),
    ("relu", nn.ReLU()),
    ("relu6", nn.ReLU6()),
    ("selu", nn.SELU()),
    ("silu", nn.SiLU()),
    ("mish", nn.Mish()),
    ("sigmoid", nn.Sigmoid()),
    ("tanh", nn.Tanh()),
    ("softsign", nn.Softsign()),
    ("hardsigmoid", nn.Hardsigmoid()),
    ("hardswish", nn.Hardswish()),
    ("identity", nn.Identity()),
    ("dropout", nn.Dropout(0.9)),
    ("leaky_relu", nn.LeakyReLU()),
    ({"type": "leaky_relu", "slope": 0.2}, nn.LeakyReLU(0.2)),
    ("prelu", nn.PReLU()),
    ({"type": "prelu", "per_channel": True}, nn.PReLU(6)),
    ({"type": "elu", "alpha": 0.5}, nn.ELU(0.5)),
    ({"type": "celu", "alpha": 0.5}, nn.CELU(0.5)),
    ("gelu", nn.GELU()),
    ({"type": "gelu", "approximate": "tanh"}, nn.GELU("tanh")),
    ({"type": "softplus", "beta": 2.0, "threshold": 1.0}, nn.Softplus(2.0, 1.0)),
    ("clamp", nn.Hardtanh()),
    ({"type": "clamp", "low": 0.1, "high": 0.3}, nn.Hardtanh(0.1, 0.3)),
    ({"type": "affine", "scale": [1, 2, 3, 4, 5, 6], "shift": 0.5}, PerChannel()),
    ({"type": "reshape", "shape": [3, -1, 8]}, nn.Unflatten(1, (6,))),
    ("flatten", nn.Flatten()),
    (
        {"type": "residual",
         "layers": ["relu", {"type": "conv", "out": 8, "kernel": 3, "padding": 1}],
         "shortcut": [{"type": "conv", "out": 8, "kernel": 1, "bias": False}]},
        Residual(),
    ),
    (
        {"type": "residual",
         "layers": [{"type": "leaky_relu", "slope": 0.3}, {"type": "conv", "out": 6, "kernel": 1},
                    {"type": "leaky_relu", "slope": 0.3}]},
        PlainResidual(),
    ),
    (branches("concat"), Parallel("concat")),
    (branches("add"), Parallel("add")),
    (branches("multiply"), Parallel("multiply")),
]  # fmt: skip
DEEP = ({"type": "pixel_shuffle", "factor": 2}, nn.PixelShuffle(2))


def word(case: object) -> str:
    return str(case["type"] if isinstance(case, dict) else case)


def test_every_layer_type_is_held_against_torch():
    assert {word(case) for case, _ in [*CASES, DEEP]} == LAYER_TYPES


@pytest.mark.parametrize(
    ("layer", "hand", "shape"),
    [(layer, hand, SMALL) for layer, hand in CASES] + [(*DEEP, (8, 5, 4))],
    ids=[f"{i}-{word(case)}" for i, (case, _) in enumerate([*CASES, DEEP])],
)
def test_a_layer_computes_what_torch_computes(layer, hand, shape):
    """To the bit; its tensors have the names and the output the shape that were foreseen."""
    hand = randomised(hand)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = hand(x.clone())
    if word(layer) == "reshape":
        wanted = x.reshape(3, 3, 5, 8)
    out = tuple(wanted.shape[1:])
    tail = [] if len(out) == 3 else [{"type": "reshape", "shape": [prod(out), 1, 1]}]
    image = out if len(out) == 3 else (prod(out), 1, 1)
    generator = declared([layer, *tail], shape, image)
    named = {f"layers.0.{name}": tensor for name, tensor in hand.state_dict().items()}
    slopes = {"inputs.0.layers.1.weight": torch.ones(1)}
    generator.load_state_dict(slopes | named)
    with torch.inference_mode():
        made = generator.eval()(x.flatten(1), None)
    if word(layer) == "pixel_norm":
        torch.testing.assert_close(made.reshape(wanted.shape), wanted)
    else:
        assert made.reshape(wanted.shape).equal(wanted)


SIDE = st.integers(1, 9)
KERNEL = st.tuples(st.integers(1, 5), st.integers(1, 5)).map(list)
STEP = st.tuples(st.integers(1, 3), st.integers(1, 3)).map(list)
MARGIN = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(list)
OUT = st.integers(1, 6)
CONV = {"out": OUT, "kernel": KERNEL, "stride": STEP, "padding": MARGIN, "dilation": STEP,
        "groups": st.integers(1, 3)}  # fmt: skip
ANY_LAYER = st.one_of(
    st.fixed_dictionaries({"type": st.just("conv")} | CONV),
    st.fixed_dictionaries({"type": st.just("conv_transpose"), "output_padding": MARGIN} | CONV),
    st.fixed_dictionaries({"type": st.just("linear"), "out": OUT}),
    st.fixed_dictionaries({"type": st.just("upsample"), "scale": STEP}),
    st.fixed_dictionaries({"type": st.just("pixel_shuffle"), "factor": st.integers(1, 2)}),
    st.fixed_dictionaries({"type": st.just("group_norm"), "groups": st.integers(1, 4)}),
    st.fixed_dictionaries(
        {"type": st.just("pad"), "sides": st.tuples(*[st.integers(0, 3)] * 4).map(list),
         "mode": st.sampled_from(["zeros", "reflect", "replicate"])}
    ),
    st.fixed_dictionaries({"type": st.just("crop"), "size": st.tuples(SIDE, SIDE).map(list)}),
    st.fixed_dictionaries(
        {"type": st.just("reshape"),
         "shape": st.lists(st.integers(-1, 6), min_size=1, max_size=3)}
    ),
    st.sampled_from(["batch_norm", "instance_norm", "layer_norm", "relu", "flatten"]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    layers=st.lists(ANY_LAYER, min_size=1, max_size=4),
    shape=st.tuples(st.sampled_from([1, 2, 4, 6]), SIDE, SIDE),
)
def test_inferred_shapes_are_those_of_torch(layers, shape):
    """Whatever the walk lets pass torch computes on the meta device, with the shapes foreseen."""
    start = [{"type": "reshape", "shape": list(shape)}, "prelu"]
    tail = [{"type": "reshape", "shape": [1, 1, -1]}]
    text = {"inputs": [{"type": "latent", "layers": start}], "layers": [*layers, *tail]}
    options = parse_options(text)
    try:
        nothing = ImageShape.model_construct(height=1, width=0, channels=1)
        trace(options, nothing, prod(shape), 0)
    except SpecError as error:
        if "the last layer gives" not in str(error):
            return
        width = int(str(error).split("gives [1, 1, ")[1].split("]")[0])
    image = ImageShape.model_construct(height=1, width=width, channels=1)
    found = trace(options, image, prod(shape), 0)
    with torch.device("meta"):
        generator = DeclaredGenerator(image, prod(shape), 0, options).eval()
        x = generator.inputs(torch.empty(2, prod(shape)), None)
        for node in found.layers:
            module = getattr(generator.layers, node.path.removeprefix("layers."), nn.Identity())
            assert tuple(x.shape[1:]) == node.shape_in
            x = module(x)
            assert tuple(x.shape[1:]) == node.shape
    state = {name: tuple(tensor.shape) for name, tensor in generator.state_dict().items()}
    assert list(state.items()) == [(name, slot.shape) for name, slot in found.tensors.items()]


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.sampled_from([1, 2, 4, 6]), SIDE, SIDE),
    out=OUT,
    kernel=KERNEL,
    stride=STEP,
    padding=MARGIN,
    extra=MARGIN,
    dilation=STEP,
    groups=st.integers(1, 3),
    transposed=st.booleans(),
)
def test_a_convolution_is_refused_where_torch_refuses_it_and_nowhere_else(
    shape, out, kernel, stride, padding, extra, dilation, groups, transposed
):
    common = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    kind, named = (nn.ConvTranspose2d, {"output_padding": extra}) if transposed else (nn.Conv2d, {})
    layer = {"type": "conv_transpose" if transposed else "conv", "out": out, "kernel": kernel}
    try:
        module = kind(shape[0], out, kernel, **common, **named)
        wanted = tuple(module(torch.zeros(1, *shape)).shape[1:])
    except (RuntimeError, ValueError):
        wanted = None
    (read,) = TypeAdapter(Layers).validate_python([layer | common | named])
    try:
        found = effect(read, shape).shape
    except MisfitError:
        found = None
    assert found == (None if wanted and 0 in wanted else wanted)
