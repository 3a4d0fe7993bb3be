"""Jobs whose samples a classifier labels: a judge of three classes, and a model without any."""

from __future__ import annotations

import hashlib
from typing import Any

from app.jobs.plan import Plan
from models.classifier_spec import ClassifierSpec
from models.spec import Weights
from tests.builders import image, planned, spec
from tests.shard_runs import SIDE

CLASSES = ("often", "seldom", "never")


def judge(name: str = "judge", version: str = "1.0", **fields: Any) -> ClassifierSpec:
    """A classifier."""
    document = {
        "name": name,
        "version": version,
        "image": image(SIDE, SIDE),
        "classes": CLASSES,
        "licence": "Apache-2.0",
        "weights": Weights(sha256=hashlib.sha256(name.encode()).hexdigest(), bytes=1),
    }
    return ClassifierSpec.model_validate(document | fields)


def maker(name: str = "maker") -> Any:
    """A model that takes no class."""
    return spec(name, (), image=image(SIDE, SIDE))


def labelled_plan(counts: dict[str, int] | int, confidence: float = 0.0, **fields: Any) -> Plan:
    """So many of each class, as the judge labels them."""
    asked = {"classifier": "judge", "min_confidence": confidence}
    body = {"model": "maker", "samples_per_class": counts, "labelled_by": asked} | fields
    specs = [maker(source["model"]) for source in body.get("models", [{"model": "maker"}])]
    return planned(body, *specs, classifiers=(judge(),))
