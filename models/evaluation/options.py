"""What an evaluation may be asked for. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue, StringConstraints

from models.evaluation.lift_options import LiftOptions
from models.spec import Frozen

Progress = Callable[[str, float], None]
"""Hears what is done now, in a few words, and which part of the whole is done (0 to 1). It may
raise, to stop the evaluation: what was measured so far is kept in the folder."""

BackboneName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""CLASSIFIER, PIXELS, or a network for classification that torchvision has."""

CLASSIFIER: Final = "classifier"
PIXELS: Final = "pixels"


class EvaluationOptions(Frozen):
    """The choices of one evaluation.

    subject_name, real_name: how they are called in the report. subject_kind,
        subject_facts: what was given, such as the seed that samples were drawn with.
    backbone: the space of the figures. "classifier" is trained on the real training images;
        "pixels" as they
        are; "resnet18" and the like are networks of torchvision with your own `weights`.
    weights: state dict of that network, .pth/.pt or safetensors.
    sample_limit: at most so many samples, and so many real images, enter a figure of fidelity.
    neighbours: k of precision, recall, density and coverage.
    most_classifier_images: how many images, with repetition, the classifier learns from at most.
        It sees each image four times, but 40,000 at least.
    lift: whether to train classifiers with and without the samples; `lift_options` says how.
    minutes: budget of the whole; what does not fit is left out and named in the warnings.
    """

    subject_name: str = "samples"
    subject_kind: Literal["model", "dataset"] = "dataset"
    subject_facts: dict[str, JsonValue] = {}
    real_name: str = "real images"
    backbone: BackboneName = CLASSIFIER
    weights: Path | None = None
    sample_limit: int = Field(default=10_000, ge=10, le=50_000)
    neighbours: int = Field(default=5, ge=1, le=50)
    most_classifier_images: int = Field(default=200_000, ge=100)
    lift: bool = True
    lift_options: LiftOptions = LiftOptions()
    minutes: float | None = Field(default=None, gt=0)
    seed: int = Field(default=0, ge=0, lt=1 << 63)
