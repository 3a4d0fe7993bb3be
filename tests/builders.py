"""Specs, plans and limits for tests, with everything that a test does not care about filled in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from app.datasets.encoders import encoder_names
from app.jobs.plan import Cell, Plan, PlannedModel
from app.jobs.request import JobRequest, Limits, make_plan
from models.spec import ImageShape, ModelSpec, Weights

TEN = ("top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


REQUEST: dict[str, Any] = {
    "model": "fashion-cgan",
    "samples_per_class": {"sandal": 90, "bag": 130, "coat": 31, "dress": 4},
    "seed": 7,
}
"""A job of the shipped model: 255 samples, classes of very different size."""


def image(height: int = 28, width: int = 28, channels: int = 1) -> ImageShape:
    """Size of an image."""
    return ImageShape.model_validate({"height": height, "width": width, "channels": channels})


def spec(name: str = "maker", classes: tuple[str, ...] = TEN, **fields: Any) -> ModelSpec:
    """A model's spec; without classes the model is unconditional."""
    document = {
        "name": name,
        "version": "1.0",
        "family": "gan",
        "architecture": "mlp_gan",
        "image": image(),
        "latent_size": 8,
        "conditioning": "class" if classes else "none",
        "classes": classes,
        "value_range": (-1.0, 1.0),
        "licence": "Apache-2.0",
        "weights": Weights(sha256=hashlib.sha256(name.encode()).hexdigest(), bytes=1),
    }
    return ModelSpec.model_validate(document | fields)


def limits(**fields: Any) -> Limits:
    """A deployment's limits."""
    given = {"max_job_samples": 100_000_000, "shard_samples": 5_000, "engine_batch": 64}
    return Limits(**(given | {"encoders": encoder_names()} | fields))


def planned(body: Mapping[str, Any], *specs: ModelSpec, seed: int = 7, **limit_fields: Any) -> Plan:
    """The plan of a request body over these models, in the order of the body."""
    request = JobRequest.model_validate(dict(body))
    return make_plan(request, specs or (spec(),), seed, limits(**limit_fields))


def plan_of(counts: list[int], shards: int, classes: int | None = None, **fields: Any) -> Plan:
    """A plan of one model: cell k asks for `counts[k]` of class k."""
    names = tuple(f"class-{k}" for k in range(classes or len(counts)))
    document: dict[str, Any] = {
        "seed": 7,
        "classes": names,
        "models": (PlannedModel("maker", "1.0", "ab" * 32, 1.0),),
        "cells": tuple(Cell(0, k, k, n) for k, n in enumerate(counts) if n),
        "image": image(),
        "shards": shards,
        "engine_batch": 16,
        "encoder": encoder_names()["png"],
    }
    return Plan(**(document | fields))
