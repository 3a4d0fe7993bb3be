"""Reports for tests: of a job, of an evaluation with everything in it, with hostile names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from app.quality.document import ClassRow, CostPart, Curve, JobPart, ModelPart, Report, StoredFile
from app.quality.gate import judge, read_gate
from app.quality.page import Pictures
from app.quality.sheets import sheets
from models.evaluation.estimate import Figure, Interval
from models.evaluation.findings import (
    Agreement,
    Appearance,
    Backbone,
    Balance,
    Copies,
    Cost,
    Fidelity,
    Material,
    Pair,
    Real,
    ShareRow,
)
from models.evaluation.lift_result import (
    Advice,
    Arm,
    Classical,
    Counts,
    Difference,
    LiftResult,
    Mean,
    Score,
    Skipped,
)
from models.evaluation.lift_result import Interval as Ends
from models.evaluation.results import Evaluation, Kind
from models.spec import ImageShape

SHA = "ab" * 32
SHAPE = ImageShape(height=28, width=28, channels=1)
MOMENT = datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC)


def figure(value: float | None, half: float = 0.01, **fields: Any) -> Figure:
    """A figure of 500 samples and 1,000 real images."""
    interval = None
    if value is not None:
        interval = Interval(low=value - half, high=value + half, method="bootstrap")
    given = {"synthetic": 500, "real": 1_000, "backbone": "small-classifier"}
    return Figure(value=value, interval=interval, **(given | fields))


FINE = "Samples of all classes resemble the real images."


def evaluation(*classes: str, lift: LiftResult | None = None, **fields: Any) -> Evaluation:
    """An evaluation that has everything, with made-up numbers."""
    names = classes or ("bag", "coat")
    row = {"kid": figure(0.012, better="lower"), "recall": figure(0.61)}
    missing = Figure(value=None, synthetic=60, reason="60 samples, and it takes 2,048")
    share = figure(0.013, better="lower")
    given: dict[str, Any] = {
        "verdict": FINE,
        "kind": Kind.FINE,
        "warnings": ("No test images were given.",),
        "subject": material("samples", names, 500),
        "real": Real(train=material("train", names, 1_000), test=material("test", names, 200)),
        "fidelity": Fidelity(
            backbone=Backbone(name="small-classifier", sha256=SHA, size=64, note="made here"),
            overall=row | {"fid": figure(31.5, 2.0, better="lower")},
            per_class={name: row | {"fid": missing} for name in names},
            held_out={"kid": figure(0.001, better="lower"), "fid": figure(9.5)},
        ),
        "copies": Copies(
            space="pixels",
            threshold=0.12,
            share=share,
            nearer_training=figure(0.52, better="lower"),
            identical=1,
            holdout="the test images",
            quantiles={"samples": (0.1, 0.2, 0.3, 0.4, 0.5), "holdout": (0.1, 0.2, 0.3, 0.4, 0.5)},
            worst=tuple(
                Pair(
                    sample=n, training=7 * n, distance=0.01 * n,
                    sample_class=names[0], training_class=names[-1],
                )
                for n in range(16)
            ),
            worst_picture="copies",
        ),
        "balance": Balance(
            classes=tuple(
                ShareRow(name=n, real=500, synthetic=250, real_share=0.5, together_share=0.5)
                for n in names
            ),
            imbalance=(9.0, 1.0),
        ),
        "agreement": Agreement(
            classifier="small-classifier",
            overall=figure(0.93),
            per_class={name: figure(0.9) for name in names},
            guessed=dict.fromkeys(names, 0.5),
            on_test=figure(0.95),
            on_test_per_class={},
        ),
        "appearance": Appearance(roughness=1.1, contrast=0.98, brightness=1.0, diversity=0.9),
        "lift": lift,
        "lift_reason": None if lift else "it was not asked for",
        "cost": Cost(seconds={"features": 2.5, "copies": 1.25}, total_seconds=3.75),
        "environment": {"torch": "2.14.1", "device": "cpu"},
        "pictures": {"copies": "copies.png", "samples": "samples.png"},
        "options": {},
    }  # fmt: skip
    return Evaluation(**(given | fields))


def material(name: str, classes: tuple[str, ...], count: int) -> Material:
    """A set of images."""
    per_class = dict.fromkeys(classes, count // len(classes))
    return Material(name=name, sha256=SHA, image=SHAPE, count=count, per_class=per_class)


def lift(*classes: str) -> LiftResult:
    """What an evaluation may say of lift."""
    names = classes or ("bag", "coat")
    arms = (
        _arm("real", 0.80, names),
        _arm("real+classical", 0.83, names, classical=True),
        _arm("real+synthetic@0.5", 0.82, names, synthetic="ratio", against=-0.01),
        _arm(
            "real+classical+synthetic@balance", 0.85, names,
            classical=True, synthetic="balance", against=0.02,
        ),
    )  # fmt: skip
    return LiftResult(
        advice=Advice(
            use=True,
            arm=arms[-1].name,
            balance=True,
            sentence="They help: +2.0 points of balanced accuracy (+0.5 … +3.5).",
            rule="Recommended is what is better with both ends of its interval.",
        ),
        reference="real+classical",
        arms=arms,
        train_on_synthetic=_arm("synthetic", 0.71, names, synthetic="only"),
        skipped=(Skipped(name="real+synthetic@4", reason="no time was left"),),
        classes=names,
        seeds=(0, 1, 2),
        seeds_asked=5,
        confidence=0.95,
        steps=400,
        batch_size=64,
        classifier="small network",
        classical=Classical(horizontal_flip=True),
        counts=Counts(
            train=1_000, train_per_class={}, validation=100, test=200, test_per_class={},
            synthetic=500, synthetic_per_class={}, train_duplicates=0, test_duplicates=0,
        ),
        train_sha256=SHA,
        test_sha256=SHA,
        synthetic_sha256=SHA,
        held_out="The test images took part in nothing.",
        notes=("2 of 5 seeds were left out: the minutes were over.",),
        seconds=61.5,
    )  # fmt: skip


def _arm(
    name: str, value: float, classes: tuple[str, ...], against: float | None = None, **fields: Any
) -> Arm:
    scores = tuple(
        Score(
            seed=seed, balanced_accuracy=value + 0.005 * (seed - 1), accuracy=value,
            recall=dict.fromkeys(classes, value), validation=value, seconds=1.0,
        )
        for seed in range(3)
    )  # fmt: skip
    ends = Ends(low=value - 0.012, high=value + 0.012)
    difference = None
    if against is not None:
        around = Ends(low=against - 0.015, high=against + 0.015)
        difference = Difference(
            reference="real+classical", value=against, interval=around, over_seeds=around,
            over_images=around, p_value=0.03, p_value_seeds=0.02,
        )  # fmt: skip
    given: dict[str, Any] = {"classical": False, "synthetic": "none", "synthetic_images": 0}
    return Arm(
        name=name,
        **(given | fields),
        real_images=1_000,
        scores=scores,
        balanced_accuracy=Mean(value=value, interval=ends),
        accuracy=Mean(value=value, interval=ends),
        recall={label: Mean(value=value, interval=ends) for label in classes},
        validation=value,
        difference=difference,
    )


def job_part(*classes: str) -> JobPart:
    """A job of two classes of very different size."""
    names = classes or ("bag", "coat")
    return JobPart(
        id="job_1",
        seed=7,
        samples=300 * len(names),
        classes=tuple(ClassRow(name=name, asked=300, delivered=300) for name in names),
        candidates=640,
        refused={"not-finite": 40},
        encoding="png",
        looked_at=600,
        files=(StoredFile(name="imagefolder", bytes=123_456, sha256=SHA, seconds=0.25),),
        created=MOMENT,
        started=MOMENT,
        request={"models": [{"model": "maker@1.0", "weight": 1.0}], "seed": 7},
    )


def model_part(name: str = "maker", **fields: Any) -> ModelPart:
    """A model with two curves."""
    steps = tuple(float(n) for n in range(0, 1_000, 10))
    given: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "sha256": SHA,
        "weight": 1.0,
        "family": "gan",
        "architecture": "cgan",
        "licence": "Apache-2.0",
        "description": "A small conditional GAN.",
        "figures": {"label_agreement": 0.94, "utility": None},
        "training": {"images": 55_000, "loss": "hinge", "betas": [0.0, 0.99]},
        "curves": (
            Curve(name="generator", steps=steps, values=tuple(1 + np.sin(s / 90) for s in steps)),
            Curve(name="partner", steps=steps, values=tuple(np.cos(s / 70) for s in steps)),
        ),
    }
    return ModelPart(**(given | fields))


def report(*classes: str, **fields: Any) -> Report:
    """A report that has everything; classes and other fields as a test wants them."""
    found = evaluation(*classes, lift=lift(*classes))
    figures = {"refused": figure(0.06, better="lower"), **found.figures()}
    given: dict[str, Any] = {
        "title": "Job job_1: maker@1.0",
        "verdict": FINE,
        "warnings": found.warnings,
        "created": MOMENT,
        "software": "Synthloom 0",
        "job": job_part(*classes),
        "gate": judge(read_gate(["label_agreement>=0.9", "kid<=0.001"]), figures),
        "figures": figures,
        "models": (model_part(),),
        "evaluation": found,
        "cost": CostPart(
            seconds={"waiting for a worker": 0.02, "generation": 12.5, "archives": 0.25},
            work_seconds={"shards": 20.5, "device": 11.0},
            devices={"cpu": 3},
            bytes={"shards": 123_000},
        ),
        "environment": {"worker 1": {"device": "cpu", "torch": "2.14.1"}},
        "again": ("synthloom generate maker@1.0 --class bag=300 --out dataset",),
    }
    return Report(**(given | fields))


def pictures(*classes: str) -> Pictures:
    """Strips of noise, and a picture for each name of an evaluation."""
    noise = np.random.default_rng(0).integers(0, 256, (10, 28, 28, 1), np.uint8)
    strips = sheets({name: list(noise) for name in classes or ("bag", "coat")})
    return Pictures(strips, {"copies": strips[0].png, "samples": strips[0].png})
