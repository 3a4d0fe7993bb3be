"""What a probe finds in good generators and in broken ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models import checkpoint
from models.errors import OutputShapeError
from models.files import WEIGHTS_FILE
from models.generator import Generator
from models.probing.probe import PER_CLASS, probe
from models.registry import build
from models.spec import ImageShape, ModelSpec
from models.zoo.catalogue import ShippedModel, shipped
from tests.builders import spec

SIDE = 16
CLASSES = ("a", "b", "c")
Draw = Callable[[Tensor, Tensor | None], Tensor]


def smooth(z: Tensor, labels: Tensor | None) -> Tensor:
    """Images of soft bands that depend on latent and label: what a good generator gives."""
    ramp = torch.linspace(0, 3, SIDE)
    label = torch.zeros(len(z)) if labels is None else labels.float()
    phase = 2 * z[:, 0, None, None, None] + label[:, None, None, None]
    return torch.sin(phase + ramp[:, None] + ramp).expand(-1, 1, -1, -1)


class Fake(Generator):
    family = "gan"
    value_range = (-1.0, 1.0)

    def __init__(self, draw: Draw, conditional: bool = True) -> None:
        super().__init__(ImageShape(height=SIDE, width=SIDE, channels=1), 4, 3 * conditional)
        self.draw = draw
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.draw(z, labels)


def described(**changes: Any) -> ModelSpec:
    shape = ImageShape(height=SIDE, width=SIDE, channels=1)
    fields: dict[str, Any] = {"classes": CLASSES, "image": shape, "latent_size": 4}
    return spec("fake", **(fields | changes))


def stripes(z: Tensor, labels: Tensor | None) -> Tensor:
    """Every pixel unlike its neighbours."""
    return torch.sin(1e4 * smooth(z, labels) * torch.arange(SIDE * SIDE).view(SIDE, SIDE))


def third_collapsed(z: Tensor, labels: Tensor | None) -> Tensor:
    assert labels is not None
    return smooth(torch.where(labels == 2, 0, 1)[:, None] * z, labels)


def second_broken(z: Tensor, labels: Tensor | None) -> Tensor:
    assert labels is not None
    broken = (labels == 1)[:, None, None, None]
    return smooth(z, labels).masked_fill(broken, float("nan"))


def codes(draw: Draw, **changes: Any) -> list[tuple[str, str]]:
    report = probe(Fake(draw), described(**changes)).report
    return [(finding.code, finding.severity.value) for finding in report.findings]


def test_a_good_generator_has_no_findings() -> None:
    probed = probe(Fake(smooth), described())
    assert probed.report.findings == ()
    assert probed.images.shape == (3, PER_CLASS, SIDE, SIDE, 1)
    assert probed.names == CLASSES


@pytest.mark.parametrize("model", shipped(), ids=lambda model: model.spec.name)
def test_shipped_models_pass_and_their_untrained_networks_do_not(model: ShippedModel) -> None:
    trained = checkpoint.load(model.spec, model.directory / WEIGHTS_FILE)
    assert probe(trained, model.spec).report.findings == ()
    torch.manual_seed(0)
    assert probe(build(model.spec), model.spec).report.degenerate


@pytest.mark.parametrize(
    ("code", "draw"),
    [
        (
            "not-finite",
            second_broken,
        ),
        ("out-of-range", lambda z, y: 127.5 + 127.5 * smooth(z, y)),
        ("depends-on-batch", lambda z, y: smooth(z - z.mean(0), y)),
    ],
)
def test_what_is_wrong_is_refused(code: str, draw: Draw) -> None:
    assert codes(draw) == [(code, "refused")]


@pytest.mark.parametrize(
    ("code", "draw"),
    [
        ("constant", lambda z, y: 0.05 * smooth(z, y)),
        (
            "noise",
            stripes,
        ),
        ("collapsed", third_collapsed),
        ("ignores-label", lambda z, _: smooth(z, None)),
    ],
)
def test_what_is_not_worth_serving_is_degenerate(code: str, draw: Draw) -> None:
    assert (code, "degenerate") in codes(draw)


def test_a_collapsed_class_is_named() -> None:
    report = probe(Fake(third_collapsed), described()).report
    assert report.least_diverse == "c"
    assert "'c'" in report.degenerate[0].detail


def test_a_range_that_is_stated_too_wide_is_told_apart_from_a_flat_image() -> None:
    found = codes(smooth, value_range=(0.0, 255.0))
    assert ("range-unused", "refused") in found or ("out-of-range", "refused") in found


def test_the_same_generator_gives_the_same_report() -> None:
    one, other = (probe(Fake(smooth), described()).report for _ in range(2))
    times = {"single_ms": 0.0, "batch_ms": 0.0}
    assert one.model_copy(update=times) == other.model_copy(update=times)


def test_more_classes_than_are_shown_are_all_tried() -> None:
    seen: set[int] = set()

    def draw(z: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        seen.update(labels.tolist())
        return smooth(z, labels)

    generator = Fake(draw)
    generator.class_count = 200
    probe(generator, described(classes=tuple(f"class {n}" for n in range(200))))
    assert seen == set(range(200))


def test_another_number_of_images_is_an_error() -> None:
    with pytest.raises(OutputShapeError):
        probe(Fake(lambda z, y: smooth(z, y)[:1]), described())
