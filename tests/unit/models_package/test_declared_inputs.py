"""What goes into a declared network, how it is joined, and how its images come out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import checkpoint
from models.declared.import_spec import read_import_spec
from models.errors import SpecError
from models.files import WEIGHTS_FILE, read_spec
from models.generator import sample
from models.registry import build
from models.spec import ModelSpec, Weights

LATENT = 6
Z = torch.randn(12, LATENT, generator=torch.Generator().manual_seed(3))


def spec_of(classes: int = 0, image: tuple[int, int, int] = (2, 3, 1), **options) -> ModelSpec:
    height, width, channels = image
    options = {
        "inputs": ["latent"],
        "layers": [{"type": "linear", "out": height * width * channels}],
        "output": "flat_chw",
    } | options
    return ModelSpec.model_validate(
        {
            "name": "tested", "version": "1", "family": "vae", "architecture": "declared",
            "options": options, "latent_size": LATENT, "value_range": (-1.0, 3.0),
            "image": {"height": height, "width": width, "channels": channels},
            "conditioning": "class" if classes else "none",
            "classes": [str(label) for label in range(classes)], "licence": "MIT",
            "weights": {"sha256": "0" * 64, "bytes": 1},
        }
    )  # fmt: skip


def joined(spec: ModelSpec, labels: torch.Tensor | None) -> torch.Tensor:
    """What the first layer meets."""
    with torch.no_grad():
        return build(spec).eval().inputs(Z, labels)


LABELS = torch.arange(12) % 4


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        (["latent", "one_hot"], lambda hot: torch.cat([Z, hot], 1)),
        (["one_hot", "latent"], lambda hot: torch.cat([hot, Z], 1)),
        (["one_hot", "latent", "one_hot"], lambda hot: torch.cat([hot, Z, hot], 1)),
    ],
)
def test_inputs_are_joined_in_the_order_of_the_list(inputs, wanted):
    spec = spec_of(4, inputs=inputs)
    assert joined(spec, LABELS).equal(wanted(F.one_hot(LABELS, 4).float()))


@pytest.mark.parametrize("merge", ["multiply", "add", "concat"])
def test_an_embedding_is_merged_with_the_latent(merge):
    inputs = [{"type": "embedding", "width": LATENT}, "latent"]
    generator = build(spec_of(4, inputs=inputs, merge=merge))
    table = generator.state_dict()["inputs.0.weight"]
    assert table.shape == (4, LATENT)
    rows = table[LABELS]
    wanted = {"multiply": rows * Z, "add": rows + Z, "concat": torch.cat([rows, Z], 1)}[merge]
    assert generator.inputs(Z, LABELS).equal(wanted)


CHARACTERS = [{"name": "character", "count": 49}, {"name": "style", "count": 2}]


def test_a_label_of_two_conditions_counts_like_digits():
    """49 characters by 2 styles are 98 classes; the last condition varies fastest."""
    inputs = [{"type": "one_hot", "of": "style"}, {"type": "one_hot", "of": "character"}, "latent"]
    labels = torch.tensor([0, 1, 2, 96, 97, 50, 51, 7, 7, 7, 7, 7])
    made = joined(spec_of(98, inputs=inputs, conditions=CHARACTERS), labels)
    assert made[:, :2].argmax(1).equal(labels % 2)
    assert made[:, 2:51].argmax(1).equal(labels // 2)
    assert made[:, :51].sum(1).equal(torch.full((12,), 2.0))


def test_a_fixed_condition_is_no_part_of_the_label():
    conditions = [CHARACTERS[0], {"name": "style", "count": 2, "fixed": 1}]
    inputs = [{"type": "one_hot", "of": "style"}, {"type": "one_hot", "of": "character"}, "latent"]
    labels = torch.arange(12) + 30
    made = joined(spec_of(49, inputs=inputs, conditions=conditions), labels)
    assert made[:, 1].equal(torch.ones(12))
    assert made[:, 2:51].argmax(1).equal(labels)


def test_a_model_whose_conditions_are_all_fixed_takes_no_label():
    conditions = [{"name": "style", "count": 3, "fixed": 2}]
    made = joined(spec_of(0, inputs=["latent", "one_hot"], conditions=conditions), None)
    assert made[:, LATENT:].equal(torch.tensor([[0.0, 0.0, 1.0]]).expand(12, 3))


def test_a_table_may_have_more_rows_than_there_are_classes():
    """Such as letters that begin at 1, or a row for "no class"."""
    conditions = [{"count": 4, "first": 1, "rows": 6}]
    inputs = [{"type": "embedding", "width": 2}, "latent"]
    generator = build(spec_of(4, inputs=inputs, conditions=conditions))
    table = generator.state_dict()["inputs.0.weight"]
    assert table.shape == (6, 2)
    assert generator.inputs(Z, LABELS)[:, :2].equal(table[LABELS + 1])


def test_a_label_can_be_an_image_plane():
    """Label and latent each painted on a grid, then joined as channels."""
    inputs = [
        {"type": "latent",
         "layers": [{"type": "linear", "out": 12}, {"type": "reshape", "shape": [2, 2, 3]}]},
        {"type": "embedding", "width": 5,
         "layers": [{"type": "linear", "out": 6}, {"type": "reshape", "shape": [1, 2, 3]}]},
    ]  # fmt: skip
    layers = [{"type": "conv", "in": 3, "out": 1, "kernel": 1}]
    generator = build(spec_of(4, inputs=inputs, layers=layers, output="chw"))
    state = generator.state_dict()
    plane = F.linear(
        state["inputs.1.weight"][LABELS],
        state["inputs.1.layers.0.weight"],
        state["inputs.1.layers.0.bias"],
    )
    assert generator.inputs(Z, LABELS)[:, 2].equal(plane.reshape(12, 2, 3))


def test_joins_lie_in_one_another():
    inner = {
        "type": "join", "merge": "multiply",
        "inputs": ["latent", {"type": "embedding", "width": LATENT, "of": "character"}],
    }  # fmt: skip
    inputs = [inner, {"type": "one_hot", "of": "style"}]
    generator = build(spec_of(98, inputs=inputs, conditions=CHARACTERS))
    table = generator.state_dict()["inputs.0.inputs.1.weight"]
    labels = torch.arange(12)
    made = generator.inputs(Z, labels)
    assert made[:, :LATENT].equal(Z * table[labels // 2])
    assert made[:, LATENT:].equal(F.one_hot(labels % 2, 2).float())


def test_a_uniform_latent_is_the_normal_one_by_its_distribution():
    inputs = [{"type": "latent", "uniform": [-1, 1]}]
    made = joined(spec_of(inputs=inputs), None)
    torch.testing.assert_close(made, 2 * torch.distributions.Normal(0, 1).cdf(Z) - 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("output", ["chw", "hwc", "flat_chw", "flat_hwc"])
def test_layouts_of_the_output_become_images(output, channels):
    """Grey, RGB and RGBA; the pixel of a place is the number that the network gave for it."""
    image = (2, 5, channels)
    count = 10 * channels
    axes = (channels, 2, 5) if output.endswith("chw") else (2, 5, channels)
    layers = [{"type": "linear", "out": count}]
    if not output.startswith("flat"):
        layers.append({"type": "reshape", "shape": list(axes)})
    generator = build(spec_of(image=image, layers=layers, output=output))
    with torch.no_grad():
        generator.layers[0].weight.zero_()
        generator.layers[0].bias.copy_(torch.linspace(-1, 3, count))
    pixels = sample(generator, Z.numpy(), None).pixels
    wanted = np.round(np.linspace(0, 255, count, dtype=np.float32)).reshape(axes)
    wanted = wanted.transpose(1, 2, 0) if output.endswith("chw") else wanted
    assert np.abs(pixels - wanted).max() <= 1
    assert pixels.min() == 0
    assert pixels.max() == 255


def test_what_is_declared_is_saved_and_loaded_like_any_other(tmp_path):
    """Constants of the description are no part of the weights, and survive the meta device."""
    layers = [{"type": "linear", "out": 6}, "tanh", {"type": "affine", "scale": 2, "shift": 1}]
    spec = spec_of(4, inputs=["latent", "one_hot"], layers=layers)
    generator = build(spec)
    saved = checkpoint.save(tmp_path, spec, generator)
    assert read_spec(tmp_path) == saved
    loaded = checkpoint.load(saved, tmp_path / WEIGHTS_FILE)
    labels = LABELS.numpy()
    assert (
        sample(loaded, Z.numpy(), labels).pixels == sample(generator, Z.numpy(), labels).pixels
    ).all()
    assert (loaded.family, loaded.value_range) == ("vae", (-1.0, 3.0))


IMPORT = {
    "name": "tested", "family": "gan", "licence": "MIT", "latent_size": 6,
    "image": {"height": 2, "width": 3, "channels": 1}, "value_range": [-1, 1],
    "options": {"inputs": ["latent", "one_hot"], "layers": [{"type": "linear", "out": 6}],
                "output": "flat_chw"},
}  # fmt: skip


def imported(**fields) -> ModelSpec:
    spec = read_import_spec(json.dumps(IMPORT | fields).encode())
    return spec.model_spec(Weights(sha256="0" * 64, bytes=1))


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (3, ("0", "1", "2")),
        (["cat", "dog"], ("cat", "dog")),
        ([["a", "b"], 2], ("a-0", "a-1", "b-0", "b-1")),
    ],
)
def test_classes_are_named_or_counted(classes, names):
    spec = imported(classes=classes)
    assert spec.classes == names
    assert spec.conditional


def test_raw_values_are_pixels_as_they_are():
    assert imported(classes=2, value_range="none").value_range == (0.0, 255.0)
    assert imported(classes=2, value_range=[0, 1]).value_range == (0.0, 1.0)


def test_short_and_long_forms_are_the_same_model():
    """The identity of a model does not depend on how much of the defaults was written down."""
    long = {
        "inputs": [{"type": "latent", "layers": []}, {"type": "one_hot"}], "merge": "concat",
        "layers": [{"type": "linear", "out": 6, "bias": True}], "output": "flat_chw",
    }  # fmt: skip
    assert imported(classes=2).sha256 == imported(classes=2, options=long).sha256
    assert imported(classes=2).version == "1.0.0"


@pytest.mark.parametrize(
    ("options", "classes", "sentence"),
    [
        ({"inputs": ["one_hot"]}, 4, "the latent is in none"),
        ({"inputs": ["latent"]}, 4, "condition class is in none"),
        ({"inputs": ["latent", "one_hot"]}, 0, "no classes"),
        ({"inputs": ["latent", "one_hot"], "conditions": [{"count": 3}]}, 4,
         "3 that are not fixed, 3 combinations, where the spec has 4 classes"),
        ({"inputs": ["latent", "one_hot"], "conditions": CHARACTERS}, 98, '"of" is None; cond'),
        ({"inputs": ["latent", {"type": "one_hot", "of": "colour"}], "conditions": CHARACTERS}, 98,
         "inputs.1: \"of\" is 'colour'; conditions are character, style"),
        ({"inputs": ["latent", "one_hot"], "merge": "add"}, 4,
         r"inputs: add of \[6\] and, from way 1, \[4\]; they must be equal"),
        ({"conditions": [{"count": 4, "fixed": 4}]}, 0, r"fixed is 4 where values are 0\.\.\.3"),
        ({"conditions": [{"count": 4, "rows": 3}]}, 4, "4 values from row 0 on do not fit"),
        ({"conditions": [CHARACTERS[0], CHARACTERS[0]]}, 98, "differ in their names"),
        ({"inputs": [{"type": "latent", "uniform": [1, -1]}]}, 0, "uniform is"),
    ],
)  # fmt: skip
def test_inputs_that_say_nothing_clear_are_refused(options, classes, sentence):
    with pytest.raises(SpecError, match=sentence):
        build(spec_of(classes, **options))


def test_activations_overwrite_only_what_nobody_else_holds():
    """The latent itself, as first thing an activation meets, stays as it was."""
    spec = spec_of(layers=["relu", {"type": "linear", "out": 6}, "relu"])
    generator = build(spec).eval()
    z = Z.clone()
    with torch.inference_mode():
        generator(z, None)
    assert z.equal(Z)
    places = [module.inplace for module in generator.modules() if isinstance(module, nn.ReLU)]
    assert places == [False, True]
