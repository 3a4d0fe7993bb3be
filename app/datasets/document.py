"""`dataset.json`: what an archive says of itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.datasets.description import FORMAT
from app.datasets.manifest import Layout
from app.jobs.encoding import PNG
from app.jobs.plan import Plan


def dataset_document(plan: Plan, licences: Sequence[str], layout: str = "imagefolder") -> bytes:
    """`dataset.json` of a plan, as UTF-8: what the dataset is and where it comes from.

    layout: the format of the archive that it lies in.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "synthetic": True,
        "samples": plan.samples,
        "seed": plan.seed,
        "classes": list(plan.classes),
        "directories": Layout(plan).directories,
        "samples_per_class": plan.samples_per_class,
        "image": plan.image.model_dump(),
        "models": [
            {
                "name": model.name,
                "version": model.version,
                "sha256": model.sha256,
                "weight": model.weight,
                "licence": licence,
            }
            for model, licence in zip(plan.models, licences, strict=True)
        ],
        "shards": plan.shards,
        "engine_batch": plan.engine_batch,
        "precision": plan.precision,
        "encoder": plan.encoder,
    }
    if plan.marks:
        document["identifier"] = plan.identifier
    if plan.encoding != PNG:  # what is not there is PNG: archives of before there was a choice
        document["encoding"] = plan.encoding.model_dump()
    if layout != "imagefolder":  # the same for the layout
        document["layout"] = layout
    if plan.real_samples_per_class:
        document["real_samples_per_class"] = plan.real_samples_per_class
    if plan.labelled_by:
        document["labelled_by"] = asdict(plan.labelled_by)
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
