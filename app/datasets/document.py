"""`dataset.json`: what an archive says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from app.datasets.description import FORMAT
from app.datasets.manifest import Layout
from app.jobs.encoding import PNG
from app.jobs.merge import TRAIN, PlannedMerge, Split
from app.jobs.plan import Plan


def _merged(plan: Plan, merge: PlannedMerge) -> dict[str, Any]:
    """The real dataset, and of each split and class how many images are real and synthetic."""
    return {
        "name": merge.name,
        "sha256": merge.sha256,
        "licence": merge.licence,
        "attribution": merge.attribution,
        "images": merge.images,
        "counts": {
            split: {
                name: {"real": real, "synthetic": synthetic}
                for name, real, synthetic in _both(plan, merge, split)
            }
            for split in merge.splits
        },
    }


def _both(plan: Plan, merge: PlannedMerge, split: Split) -> Iterator[tuple[str, int, int]]:
    drawn = plan.samples_per_class if split == TRAIN else {}
    real = merge.real(split)
    for name in plan.classes:
        if name in real or name in drawn:
            yield name, real.get(name, 0), drawn.get(name, 0)


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
                **_conditions(plan, place),
            }
            for place, (model, licence) in enumerate(zip(plan.models, licences, strict=True))
        ],
        "shards": plan.shards,
        "engine_batch": plan.engine_batch,
        "precision": plan.precision,
        "encoder": plan.encoder,
    }
    if plan.marks:
        document["identifier"] = plan.identifier
    if plan.c2pa:
        document["c2pa"] = True
    if plan.encoding != PNG:  # what is not there is PNG: archives of before there was a choice
        document["encoding"] = plan.encoding.model_dump()
    if layout != "imagefolder":  # the same for the layout
        document["layout"] = layout
    if plan.real_samples_per_class:
        document["real_samples_per_class"] = plan.real_samples_per_class
    if plan.sampling:
        document["sampling"] = plan.sampling.model_dump(exclude_none=True)
    if plan.labelled_by:
        document["labelled_by"] = asdict(plan.labelled_by)
    if plan.transforms:
        document["transforms"] = [each.model_dump(mode="json") for each in plan.transforms]
    if plan.variants > 1:
        document |= {"variants": plan.variants, "drawn": plan.drawn}
    if plan.merge:
        document |= {"synthetic": "partly", "merged": _merged(plan, plan.merge)}
    if plan.checks:
        document["checks"] = plan.checks.to_json()
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _conditions(plan: Plan, model: int) -> dict[str, Any]:
    """Class → label that the model takes, where any is not the class's place in the dataset."""
    taken = {
        plan.classes[cell.label]: cell.condition
        for cell in plan.cells
        if cell.model == model and 0 <= cell.condition != cell.label
    }
    return {"conditions": taken} if taken else {}
