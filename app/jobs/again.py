"""How to ask for a job again: the request that gives the same plan, and a command that does."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from app.db.tables import Job
from app.jobs.asked_checks import asked_again, options_of
from app.jobs.encoding import PNG, Jpeg, Webp
from app.jobs.plan import Plan

ClassNames = Mapping[str, Sequence[str]]
"""SHA-256 of a model → the names that its spec has for its classes; empty where it takes none."""


def request_of(job: Job, plan: Plan, names: ClassNames) -> dict[str, JsonValue]:
    """A request that gives the same plan: models pinned by version, the seed given."""
    request: dict[str, Any] = {"models": _models(plan, names), **_how_many(plan)}
    if plan.labelled_by is not None:
        request["labelled_by"] = {
            "classifier": plan.labelled_by.ref,
            "min_confidence": plan.labelled_by.min_confidence,
        }
    if plan.transforms:
        request["transforms"] = [each.model_dump(mode="json") for each in plan.transforms]
    if plan.variants > 1:
        request["variants"] = plan.variants
    if plan.merge is not None:
        request["merge_with"] = plan.merge.name
    if plan.checks is not None:
        request["checks"] = asked_again(plan.checks)
    request["seed"] = plan.seed
    if plan.sampling is not None:
        request["sampling"] = plan.sampling.model_dump(exclude_none=True)
    if plan.encoding != PNG:
        request["encoding"] = plan.encoding.model_dump()
    if not plan.marks:
        request["marked"] = False
    if plan.c2pa:
        request["c2pa"] = True
    request["formats"] = list(job.formats)
    if job.report_asked is not None:
        request["report"] = job.report_asked
    if job.gate:
        request["gate"] = list(job.gate)
    return request


def again_of(plan: Plan, names: ClassNames, request: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """A command, where one can say it, and the request."""
    body = json.dumps(request, indent=2, ensure_ascii=False)
    asked = f"POST /v1/jobs\nContent-Type: application/json\n\n{body}"
    renamed = any("class_map" in source for source in _models(plan, names))
    several = len(plan.models) > 1
    if several or renamed or plan.transforms or not plan.marks:
        return (asked,)
    return (_command(plan), asked)


def _how_many(plan: Plan) -> dict[str, Any]:
    if plan.cells[0].condition < 0 and plan.labelled_by is None:
        return {"samples": plan.samples}
    return {"samples_per_class": plan.samples_per_class}


def _models(plan: Plan, names: ClassNames) -> list[dict[str, Any]]:
    """The sources as they are, not as they were asked: of several, each class's shares are the
    numbers that they came to."""
    sources = []
    for place, model in enumerate(plan.models):
        source: dict[str, Any] = {"model": model.ref, "weight": model.weight}
        called = _called(plan, place, names.get(model.sha256, ()))
        if renamed := {own: name for own, name in called.items() if own != name}:
            source["class_map"] = renamed
        if len(plan.models) > 1 and called:
            drawn = {plan.classes[c.label]: c.count for c in plan.cells if c.model == place}
            asked = [name for name in called.values() if name in plan.samples_per_class]
            source["classes"] = {name: drawn.get(name, 0) for name in asked}
        sources.append(source)
    return sources


def _called(plan: Plan, place: int, own: Sequence[str]) -> dict[str, str]:
    """Class of a model → what the dataset calls it.

    The first model's come first among the classes of a dataset; what a later one calls a class of
    which it draws nothing is not kept, nor needed.
    """
    if place == 0:
        return dict(zip(own, plan.classes, strict=False))
    drawn = {c.condition: plan.classes[c.label] for c in plan.cells if c.model == place}
    return {name: drawn.get(label, name) for label, name in enumerate(own)}


def _command(plan: Plan) -> str:
    words = ["synthloom", "generate", plan.models[0].ref]
    if plan.cells[0].condition < 0 and plan.labelled_by is None:
        words += ["--samples", str(plan.samples)]
    else:
        for name, count in plan.samples_per_class.items():
            words += ["--class", f"{name}={count}"]
    if plan.labelled_by is not None:
        words += ["--labelled-by", plan.labelled_by.ref]
        words += ["--min-confidence", f"{plan.labelled_by.min_confidence:g}"]
    if plan.merge is not None:
        words += ["--merge", plan.merge.name]
    words += [*options_of(plan.checks), "--seed", str(plan.seed)]
    shaping = plan.sampling.model_dump(exclude_none=True) if plan.sampling else {}
    for option, value in shaping.items():
        words += [f"--{option}", f"{value:g}"]
    if plan.encoding != PNG:
        words += ["--encoding", plan.encoding.format]
    if isinstance(plan.encoding, Jpeg | Webp) and plan.encoding.quality is not None:
        words += ["--quality", str(plan.encoding.quality)]
    if plan.c2pa:
        words.append("--c2pa")
    return shlex.join([*words, "--out", "dataset"])
