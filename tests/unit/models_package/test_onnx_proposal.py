"""What is proposed for a stranger's graph, of its inputs, its outputs and its wiring alone."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from models.errors import SpecError
from models.onnx_graph import GraphFacts, OnnxTrial, Port
from models.onnx_inspection import inspect
from models.onnx_proposal import OnnxProposal, settled
from models.onnx_runner import Runner
from models.spec import Weights
from tests.onnx_graphs import CLASSES, FLOAT, INT64, LATENT, UINT8, painter

UNSAVED = Weights(sha256="0" * 64, bytes=1)


def proposal(graph) -> OnnxProposal:
    return OnnxProposal(inspect(graph.SerializeToString()), "strange", "gan")


@pytest.mark.parametrize(
    ("graph", "image", "classes", "layout"),
    [
        (painter([1, 6, 5]), (6, 5, 1), 0, "chw"),
        (painter([6, 5, 3]), (6, 5, 3), 0, "hwc"),
        (painter([6, 5]), (6, 5, 1), 0, "hw"),
        (painter([768]), (16, 16, 3), 0, "flat_chw"),
        (painter([784]), (28, 28, 1), 0, "flat_chw"),
        (painter([4, 64, 64], label=(INT64, [])), (64, 64, 4), CLASSES, "chw"),
        (painter([1, 6, 5], label=(INT64, [1])), (6, 5, 1), CLASSES, "chw"),
        (painter([1, 6, 5], label=(FLOAT, [CLASSES])), (6, 5, 1), CLASSES, "chw"),
        (painter([1, 6, 5], latent=[LATENT, 1, 1]), (6, 5, 1), 0, "chw"),
    ],
)
def test_the_first_proposal_runs(graph, image, classes, layout):
    content = graph.SerializeToString()
    spec = proposal(graph).spec().model_spec(UNSAVED)
    assert (spec.image.height, spec.image.width, spec.image.channels) == image
    assert (len(spec.classes), spec.latent_size) == (classes, LATENT)
    assert spec.options["layout"] == layout
    z = np.ones((2, LATENT), np.float32)
    labels = np.array([0, 1]) if classes else None
    images = Runner(spec, content, threads=1).images(z, labels)
    assert images[0, 0, 0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("operator", "ranges"),
    [
        ("Tanh", ["[-1, 1]"]),
        ("Sigmoid", ["[0, 1]"]),
        ("Relu", ["[-1, 1]", "[0, 1]", "[0, 255]"]),
    ],
)
def test_the_range_follows_from_the_last_operator(operator, ranges):
    tail = [
        helper.make_node(operator, ["painted"], ["ended"]),
        helper.make_node("Identity", ["ended"], ["images"]),
    ]
    asked = proposal(painter([1, 6, 5], tail=tail)).unknowns[2]
    assert [candidate.label for candidate in asked.candidates] == ranges


def test_whole_numbers_are_pixels():
    spec = proposal(painter([1, 6, 5], dtype=UINT8)).spec()
    assert spec.value_range == (0.0, 255.0)


def facts(*inputs: Port, outputs: tuple[Port, ...] = (), **fields: object) -> GraphFacts:
    image = (Port(name="images", dtype="float32", shape=(None, 3, 8, 8)),)
    return GraphFacts.model_validate(
        {
            "opset": 18,
            "producer": "",
            "inputs": inputs,
            "outputs": outputs or image,
            "operators": {},
            "parameter_bytes": 0,
            "peak_elements": 1,
        }
        | fields
    )


def port(name: str, shape: tuple, dtype: str = "float32") -> Port:
    return Port(name=name, dtype=dtype, shape=shape)


def first(*inputs: Port, **fields: object):
    return OnnxProposal(facts(*inputs, **fields), "strange", "gan").spec()


def test_a_truncation_and_noise_are_fixed_inputs():
    spec = first(
        port("z", (None, 64)), port("psi", ()), port("extra", (None, 1, 4, 4)), port("c", (None, 7))
    )
    assert (spec.latent_size, len(spec.classes)) == (64, 7)
    assert spec.options["latents"] == ["z"]
    assert spec.options["label"] == "c"
    assert spec.options["fixed"] == {"psi": {"value": 1.0}, "extra": {"seed": 0}}


def test_what_no_wiring_tells_is_asked():
    proposed = OnnxProposal(
        facts(port("x", (None, None)), port("label", (None,), "int64")), "strange", "gan"
    )
    sizes = [candidate.value.latent_size for candidate in proposed.unknowns[0].candidates]
    assert sizes == [100, 128, 64]
    assert "check" in proposed.unknowns[0].candidates[0].why
    image = OnnxProposal(
        facts(port("z", (None, 8)), outputs=(port("a", (None, 3, 8, 3)),)), "strange", "gan"
    ).unknowns[1]
    assert [candidate.value.options["layout"] for candidate in image.candidates] == ["chw", "hwc"]


def test_tries_come_one_by_one_and_are_named():
    proposed = OnnxProposal(facts(port("z", (None, 8))), "strange", "gan")
    tries = list(proposed.tries(2))
    assert [labels for labels, _ in tries] == [{"output": "[-1, 1]"}, {"output": "[0, 1]"}]
    assert [spec.value_range for _, spec in tries] == [(-1.0, 1.0), (0.0, 1.0)]


def test_the_image_is_found_among_outputs():
    spec = first(
        port("z", (None, 8)),
        outputs=(port("features", (None, 512)), port("picture", (None, 3, 8, 8))),
    )
    assert spec.options["output"] == "picture"


@pytest.mark.parametrize(
    ("inputs", "outputs", "sentence"),
    [
        ([port("ids", (None, 77), "int64")], (), "no input can be the latent"),
        ([port("z", (None, 8))], (port("y", (None, 3, None, None)),), "fixed sides"),
        ([port("z", (None, 8))], (port("y", (None, 17, 5, 7)),), "no output is an image"),
    ],
)
def test_what_is_no_generator_is_refused(inputs, outputs, sentence):
    with pytest.raises(SpecError, match=sentence):
        OnnxProposal(facts(*inputs, outputs=outputs), "strange", "gan")


def test_an_image_beyond_every_limit_makes_no_spec():
    huge = (port("y", (None, 3, 8192, 8192)),)
    with pytest.raises(SpecError, match="makes no spec"):
        first(port("z", (None, 8)), outputs=huge)


def test_the_batch_of_the_trial_goes_into_the_spec():
    spec = first(port("z", (None, 8)))
    alone = OnnxTrial(batch=1, seconds=0.1, images=3, non_finite=0)
    assert settled(spec, alone).options["batch"] == 1
    assert settled(spec, alone.model_copy(update={"batch": None})) == spec
