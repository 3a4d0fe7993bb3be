"""The judge: a classifier trained on real images only, with its figures and card."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np
import torch

from models.checkpoint import load_classifier, save_classifier
from models.classifier import Classifier
from models.classifier_spec import ClassifierSpec
from models.corpus.corpus import Corpus
from models.evaluation.figures import FULL, budget
from models.files import WEIGHTS_FILE, read_classifier_spec, write_atomically
from models.spec import Weights
from models.training.classify import Budget, accuracy, fit, predict

DESCRIPTION = (
    "Small convolutional classifier of Fashion-MNIST, trained on real training images only. It "
    "judges whether a sample is what its label says. It generates nothing."
)


def make_judge(name: str, train: Corpus, test: Corpus, training: Budget, target: Path) -> None:
    """Train a classifier on `train`, measure it on `test`, and save it with its card."""
    started = time.perf_counter()
    classifier = fit(train, training)
    seconds = time.perf_counter() - started
    draft = ClassifierSpec(
        name=name,
        version="1.0.0",
        image=train.image,
        classes=train.classes,
        licence="Apache-2.0",
        description=DESCRIPTION,
        weights=Weights(sha256="0" * 64, bytes=1),
        training=_record(train, training, seconds),
    )
    save_classifier(target, draft, classifier, torch.float16)
    complete_judge(target, train, test)


def complete_judge(target: Path, train: Corpus, test: Corpus) -> None:
    """Measure the classifier as it was saved, and write its figures and card."""
    spec = read_classifier_spec(target)
    classifier = load_classifier(spec, target / WEIGHTS_FILE)
    figures = spec.figures | {
        "test_accuracy": round(accuracy(classifier, test), 4),
        "class_accuracy": _by_class(classifier, test),
        "test_images": len(test),
        "utility_of_real": round(_utility_of_real(train, test), 4),
    }
    measured = spec.model_copy(update={"figures": figures})
    write_atomically(target / "classifier.json", measured.to_json().encode())
    (target / "card.md").write_text(_card(measured, classifier))


def _utility_of_real(train: Corpus, test: Corpus) -> float:
    """What as many real images teach under the budget that measures a model's samples."""
    count = FULL.utility_samples
    part = Corpus(train.images[:count], train.labels[:count], train.classes)
    return accuracy(fit(part, budget(FULL)), test)


def _by_class(classifier: Classifier, test: Corpus) -> dict[str, float]:
    right = predict(classifier, test.images).argmax(axis=1) == test.labels
    return {
        name: round(float(right[test.labels == label].mean()), 4)
        for label, name in enumerate(test.classes)
    }


def _record(train: Corpus, training: Budget, seconds: float) -> dict[str, object]:
    return {
        "images": len(train),
        "epochs": training.epochs,
        "minutes": round(seconds / 60, 1),
        "seed": training.seed,
        "batch_size": training.batch_size,
        "rate": training.rate,
        "shift": training.shift,
        "bfloat16": training.bfloat16,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def _card(spec: ClassifierSpec, classifier: Classifier) -> str:
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    facts = [f"| {key} | {value} |" for key, value in spec.training.items() if key != "versions"]
    versions = spec.training["versions"]
    assert isinstance(versions, dict)
    return "\n".join(
        [
            f"# {spec.name}",
            "",
            spec.description,
            "",
            "| | |",
            "|---|---|",
            f"| version | {spec.version} |",
            f"| parameters | {parameters:,}, stored as float16: {spec.weights.bytes:,} bytes |",
            f"| licence of the weights | {spec.licence} |",
            "| data | Fashion-MNIST, MIT licence, Copyright (c) 2017 Zalando SE |",
            "",
            "## Figures",
            "",
            f"Accuracy on the {spec.figures['test_images']:,} test images: "
            f"**{spec.figures['test_accuracy']:.4f}**. "
            "The same network given the budget that measures a model's samples "
            f"({FULL.utility_samples:,} images, {FULL.epochs} epochs, no shifts), but real "
            f"images: {spec.figures['utility_of_real']}.",
            "",
            _class_table(spec),
            "",
            "## Training",
            "",
            "| | |",
            "|---|---|",
            *facts,
            f"| versions | {', '.join(f'{k} {v}' for k, v in versions.items())} |",
            "",
        ]
    )


def _class_table(spec: ClassifierSpec) -> str:
    shares = spec.figures["class_accuracy"]
    assert isinstance(shares, dict)
    rows = [f"| {name} | {share} |" for name, share in shares.items()]
    return "\n".join(("| class | accuracy |", "|---|---|", *rows))
