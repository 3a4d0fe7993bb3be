"""ONNX generators of strangers: bound by name and type, run, and equal to what they say."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from models import checkpoint
from models.errors import CheckpointError, InferenceError, InputError, OutputShapeError, SpecError
from models.files import ONNX_FILE, weights_file
from models.generator import sample
from models.latents import normal
from models.onnx_session import _providers
from models.registry import build
from tests.onnx_graphs import (
    CLASSES,
    FLOAT,
    INT32,
    INT64,
    LATENT,
    UINT8,
    first_only,
    ints,
    model,
    number,
    onnx_spec,
    painter,
)

INDEX, INDEX32, COLUMN = (INT64, []), (INT32, []), (INT64, [1])
ONE_HOT = (FLOAT, [CLASSES])


@pytest.fixture
def opened(tmp_path):
    """Load a graph as the service does: from a file, by a spec."""

    def load(graph: onnx.ModelProto, device="cpu", **fields):
        content = graph.SerializeToString()
        spec = onnx_spec(content, **fields)
        path = tmp_path / weights_file(spec)
        path.write_bytes(content)
        return checkpoint.load(spec, path, device)

    return load


def draw(count: int, classes: int = 0, size: int = LATENT):
    z = normal(seed=3, model="ab" * 32, shard=0, first=0, count=count, size=size)
    return z, np.arange(count, dtype=np.int64) % classes if classes else None


KINDS = {
    "chw": (painter([1, 6, 5]), {}),
    "index label": (painter([1, 6, 5], label=INDEX), {"classes": CLASSES}),
    "int32 label": (painter([1, 6, 5], label=INDEX32), {"classes": CLASSES}),
    "column label": (painter([1, 6, 5], label=COLUMN), {"classes": CLASSES}),
    "one-hot label": (painter([1, 6, 5], label=ONE_HOT), {"classes": CLASSES}),
    "whole one-hot label": (painter([1, 6, 5], label=(INT64, [CLASSES])), {"classes": CLASSES}),
    "hwc 0..255": (
        painter([6, 5, 3], scale=80.0),
        {"image": (6, 5, 3), "value_range": (0.0, 255.0), "options": {"layout": "hwc"}},
    ),
    "hw": (painter([6, 5]), {"options": {"layout": "hw"}}),
    "flat": (painter([90]), {"image": (6, 5, 3), "options": {"layout": "flat_chw"}}),
    "flat hwc": (painter([90]), {"image": (6, 5, 3), "options": {"layout": "flat_hwc"}}),
    "rgba 64": (painter([4, 64, 64]), {"image": (64, 64, 4)}),
    "batch of one": (painter([1, 6, 5], batch=1, label=INDEX), {"classes": CLASSES}),
    "batch of four": (painter([1, 6, 5], batch=4), {}),
    "latent as an image": (painter([1, 6, 5], latent=[LATENT, 1, 1]), {}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_kind_of_graph_gives_the_images_that_arithmetic_says(opened, kind, count):
    graph, fields = KINDS[kind]
    generator = opened(graph, **fields)
    height, width, channels = fields.get("image", (6, 5, 1))
    z, labels = draw(count, fields.get("classes", 0))
    wanted = z.mean(axis=1, dtype=np.float64) + (0 if labels is None else labels)
    low, high = fields.get("value_range", (-1.0, 1.0))
    wanted = wanted * (80.0 if high == 255.0 else 1.0)
    levels = np.clip((wanted - low) * 255 / (high - low), 0, 255)
    pixels, finite, _ = sample(generator, z, labels)
    assert pixels.shape == (count, height, width, channels)
    assert finite.all()
    assert np.abs(pixels - levels[:, None, None, None]).max() <= 0.5 + 1e-3


def checkerboard(sides: list[int]) -> onnx.ModelProto:
    """uint8 output: `sides` counted upwards, plus 1 for each image whose latent is above 0."""
    count = int(np.prod(sides))
    steps = np.arange(count, dtype=np.float32).reshape(1, *sides)
    return model(
        [
            helper.make_node("ReduceMean", ["z", "one"], ["mean"], keepdims=0),
            helper.make_node("Greater", ["mean", "zero"], ["above"]),
            helper.make_node("Cast", ["above"], ["step"], to=FLOAT),
            helper.make_node("Reshape", ["step", "shape"], ["pixel"]),
            helper.make_node("Add", ["pixel", "steps"], ["sum"]),
            helper.make_node("Cast", ["sum"], ["images"], to=UINT8),
        ],
        [("z", FLOAT, ["n", LATENT])],
        ("images", UINT8, ["n", *sides]),
        [
            ints("one", 1),
            number("zero", 0.0),
            ints("shape", -1, *([1] * len(sides))),
            onnx.numpy_helper.from_array(steps, "steps"),
        ],
    )


@pytest.mark.parametrize(
    ("layout", "sides", "axes"), [("hwc", [6, 5, 3], (0, 1, 2)), ("chw", [3, 6, 5], (1, 2, 0))]
)
def test_whole_numbers_pass_as_they_are(opened, layout, sides, axes):
    generator = opened(
        checkerboard(sides),
        image=(6, 5, 3),
        value_range=(0.0, 255.0),
        options={"layout": layout},
    )
    z, _ = draw(5)
    steps = np.arange(90, dtype=np.uint8).reshape(sides).transpose(axes)
    wanted = steps[None] + (z.mean(axis=1) > 0)[:, None, None, None]
    assert np.array_equal(sample(generator, z, None).pixels, wanted)


class Small(nn.Module):
    """A conditional generator as people train them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(CLASSES, 4)
        self.paint = nn.Linear(LATENT + 4, 32 * 4 * 4)
        self.norm = nn.BatchNorm2d(32)
        self.up = nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.out = nn.ConvTranspose2d(16, 3, 4, 2, 1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = self.paint(torch.cat([z, self.table(labels)], dim=1)).reshape(-1, 32, 4, 4)
        x = nn.functional.interpolate(torch.relu(self.norm(x)), scale_factor=2, mode="bilinear")
        return torch.tanh(self.out(torch.relu(self.up(x))))


@pytest.fixture(scope="module")
def exported() -> tuple[nn.Module, onnx.ModelProto]:
    """A torch network and its ONNX file, as `torch.onnx.export` writes it."""
    torch.manual_seed(0)
    network = Small()
    network.norm(torch.randn(64, 32, 4, 4))  # running statistics that are not those of a start
    network.eval()
    names = {"input_names": ["z", "labels"], "output_names": ["images"]}
    axes = ({0: "n"}, {0: "n"})
    example = (torch.zeros(2, LATENT), torch.zeros(2, dtype=torch.int64))
    with pytest.warns(UserWarning, match="axis name"):
        program = torch.onnx.export(
            network, example, dynamo=True, dynamic_shapes=axes, verbose=False, **names
        )
    return network, program.model_proto


def test_an_exported_network_is_the_network(opened, exported):
    network, graph = exported
    generator = opened(graph, image=(32, 32, 3), classes=CLASSES)
    z, labels = draw(33, CLASSES)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(z), torch.from_numpy(labels)).numpy()
    levels = np.round((wanted.transpose(0, 2, 3, 1) + 1) * 127.5)
    pixels = sample(generator, z, labels).pixels
    assert np.abs(pixels - levels).max() <= 1
    assert np.array_equal(sample(generator, z, labels).pixels, pixels)
    again = opened(graph, image=(32, 32, 3), classes=CLASSES)
    assert np.array_equal(sample(again, z, labels).pixels, pixels)
    alone = sample(generator, z[5:6], labels[5:6]).pixels
    assert np.abs(alone[0].astype(int) - pixels[5]).max() <= 1


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_a_label_out_of_range_never_reaches_the_graph(opened, label):
    generator = opened(painter([1, 6, 5], label=INDEX), classes=CLASSES)
    z, _ = draw(1)
    with pytest.raises(InputError, match=f"0..{CLASSES - 1}"):
        sample(generator, z, np.array([label]))
    with pytest.raises(InputError, match=f"0..{CLASSES - 1}"):
        generator(torch.from_numpy(z), torch.tensor([label]))


def test_a_graph_that_answers_a_batch_with_one_image_is_found_out(opened):
    z, _ = draw(3)
    with pytest.raises(OutputShapeError, match=r"asked for 3 images.*options\.batch"):
        sample(opened(first_only([1, 6, 5])), z, None)
    pixels = sample(opened(first_only([1, 6, 5]), options={"batch": 1}), z, None).pixels
    assert len({image.tobytes() for image in pixels}) == 3


def test_numbers_that_are_none_never_become_pixels(opened):
    tail = [helper.make_node("Sqrt", ["painted"], ["images"])]  # of numbers below 0 too
    z, _ = draw(16)
    _, finite, _ = sample(opened(painter([1, 6, 5], tail=tail)), z, None)
    assert np.array_equal(finite, z.mean(axis=1) >= 0)


def two_inputs(second: str, kind: int, sides: list) -> onnx.ModelProto:
    """image = mean of z + mean of the second input."""
    return model(
        [
            helper.make_node("ReduceMean", ["z", "last"], ["a"], keepdims=1),
            helper.make_node("Cast", [second], ["float"], to=FLOAT),
            helper.make_node("Reshape", ["float", "rows"], ["row"]),
            helper.make_node("ReduceMean", ["row", "last"], ["b"], keepdims=1),
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Tile", ["sum", "repeats"], ["flat"]),
            helper.make_node("Reshape", ["flat", "shape"], ["images"]),
        ],
        [("z", FLOAT, ["n", LATENT]), (second, kind, sides)],
        ("images", FLOAT, ["n", 1, 6, 5]),
        [
            ints("last", 1),
            ints("rows", -1, *([int(np.prod(sides[1:]))] if len(sides) > 1 else [1])),
            ints("repeats", 1, 30),
            ints("shape", -1, 1, 6, 5),
        ],
    )


def test_a_latent_may_be_shared_by_several_inputs(opened):
    graph = two_inputs("noise", FLOAT, ["n", 1, 2, 2])
    generator = opened(graph, latent_size=LATENT + 4, options={"latents": ["z", "noise"]})
    z, _ = draw(9, size=LATENT + 4)
    wanted = z[:, :LATENT].mean(axis=1) + z[:, LATENT:].mean(axis=1)
    images = generator(torch.from_numpy(z), None).numpy()
    assert np.allclose(images, wanted[:, None, None, None], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "sides", "fixed", "added"),
    [
        (FLOAT, [], {"value": 0.25}, 0.25),
        (FLOAT, [1], {"value": 0.25}, 0.25),
        (INT64, ["n"], {"value": 1}, 1.0),
        (INT64, ["n", 2], {"value": [1, 0]}, 0.5),
    ],
)
def test_other_inputs_are_fixed(opened, kind, sides, fixed, added):
    generator = opened(two_inputs("psi", kind, sides), options={"fixed": {"psi": fixed}})
    z, _ = draw(4)
    images = generator(torch.from_numpy(z), None).numpy()
    assert np.allclose(images, (z.mean(axis=1) + added)[:, None, None, None], atol=1e-6)


def test_noise_of_a_seed_is_the_same_for_every_image_and_every_load(opened):
    graph = two_inputs("noise", FLOAT, ["n", 64])
    z, _ = draw(4)

    def added(seed: int):
        generator = opened(graph, options={"fixed": {"noise": {"seed": seed}}})
        images = generator(torch.from_numpy(z), None).numpy()[:, 0, 0, 0]
        return images - z.mean(axis=1)

    assert np.allclose(added(1), added(1)[0], atol=1e-6)
    assert np.array_equal(added(1), added(1))
    assert abs(added(1)[0] - added(2)[0]) > 1e-3


@pytest.mark.parametrize(
    ("graph", "fields", "sentence"),
    [
        (two_inputs("w", FLOAT, ["n", LATENT]), {}, r"which of the inputs.*options\.latents"),
        (two_inputs("psi", FLOAT, [1]), {}, r"'psi'.*neither latent nor label.*options\.fixed"),
        (painter([1, 6, 5]), {"classes": 3}, r"no input could be the label.*options\.label"),
        (painter([1, 6, 5], label=INDEX), {}, "neither latent nor label"),
        (painter([1, 6, 5], label=INDEX), {"classes": 9}, r"names 9 classes.*has 4"),
        (painter([1, 6, 5]), {"latent_size": 100}, r"100 numbers.*take 8; set latent_size"),
        (painter([6, 5, 3]), {"image": (6, 5, 3)}, r"no image of \[3, 6, 5\].*options\.layout"),
        (checkerboard([1, 6, 5]), {}, r"value_range is \[0, 255\]"),
        (painter([1, 6, 5], batch=4), {"options": {"batch": 2}}, "takes 4 images a run, not 2"),
        (painter([1, 6, 5]), {"options": {"latents": ["x"]}}, "no input 'x'"),
        (painter([1, 6, 5]), {"options": {"lable": "x"}}, "onnx: option lable"),
        (
            painter([1, 6, 5]),
            {"options": {"fixed": {"z": {"value": 1, "seed": 1}}}},
            "either a value or a seed",
        ),
        (
            two_inputs("psi", FLOAT, [1]),
            {"options": {"fixed": {"psi": {"value": [1, 2]}}}},
            "takes 1 numbers, not 2",
        ),
    ],
)
def test_what_is_not_clear_is_asked_for(opened, graph, fields, sentence):
    with pytest.raises(SpecError, match=sentence):
        opened(graph, **fields)


def test_a_graph_that_fails_is_an_error_of_ours(opened):
    """Its label's table is shorter than the spec says, and the graph hides it."""
    tail = [
        helper.make_node("Cast", ["painted"], ["rows"], to=INT64),
        helper.make_node("Gather", ["repeats", "rows"], ["gathered"]),
        helper.make_node("Cast", ["gathered"], ["images"], to=FLOAT),
    ]
    generator = opened(painter([1, 6, 5], tail=tail, scale=1e4))
    with pytest.raises(InferenceError, match="does not run"):
        sample(generator, draw(4)[0], None)


def test_a_file_that_is_not_the_specs_is_refused(opened, tmp_path):
    content = painter([1, 6, 5]).SerializeToString()
    spec = onnx_spec(content)
    (tmp_path / ONNX_FILE).write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match="copy or download"):
        checkpoint.load(spec, tmp_path / ONNX_FILE)
    with pytest.raises(SpecError, match="load it from its file"):
        build(spec)


def test_memory_is_counted_and_freed(opened, exported):
    network, graph = exported
    generator = opened(graph, image=(32, 32, 3), classes=CLASSES)
    wanted = sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
    assert wanted <= generator.resident_bytes <= 1.1 * wanted
    session = weakref.ref(generator._runner)
    del generator
    gc.collect()
    assert session() is None


def test_no_images_are_no_run(opened):
    z, _ = draw(0)
    assert sample(opened(painter([1, 6, 5])), z, None).pixels.shape == (0, 6, 5, 1)


@pytest.mark.parametrize("there", [True, False])
def test_cuda_is_used_where_there_is_a_provider(monkeypatch, there, caplog):
    """Which provider is asked for; there is no such device to run it on here."""
    names = ["CPUExecutionProvider", *(["CUDAExecutionProvider"] if there else [])]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: names)
    providers = _providers(1)
    if there:
        assert providers[0][0] == "CUDAExecutionProvider"
        assert providers[0][1]["device_id"] == 1
    else:
        assert "no CUDA provider" in caplog.text
    assert providers[-1] == "CPUExecutionProvider"
    assert _providers(None) == ["CPUExecutionProvider"]


def test_short_memory_is_told_as_torch_tells_it(opened, monkeypatch):
    generator = opened(painter([1, 6, 5]))

    class Full:
        def run(self, *_):
            from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

            raise RuntimeException("Failed to allocate memory for requested buffer")

    monkeypatch.setattr(generator._runner._session, "_session", Full())
    with pytest.raises(torch.OutOfMemoryError):
        sample(generator, draw(2)[0], None)
