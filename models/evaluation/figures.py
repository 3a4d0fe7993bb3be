"""The figures of a model card, each with the number of samples behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from models.classifier import Classifier
from models.corpus.corpus import Corpus
from models.evaluation.draw import draw_labelled
from models.generator import Generator
from models.spec import ModelSpec
from models.training.classify import Budget, accuracy, fit, predict


@dataclass(frozen=True)
class Effort:
    """How much is drawn and learnt to measure a model.

    agreement_samples, utility_samples: drawn in all, evenly over the classes.
    epochs: of the classifier that learns from the samples.
    """

    agreement_samples: int
    utility_samples: int
    epochs: int
    bfloat16: bool = False


FULL = Effort(agreement_samples=10_000, utility_samples=50_000, epochs=5, bfloat16=True)
QUICK = Effort(agreement_samples=2_000, utility_samples=20_000, epochs=3, bfloat16=True)


@dataclass(frozen=True)
class Figures:
    """What was measured.

    label_agreement: share of samples to which the judge gives the label they were asked for
        (of an unconditional model, None).
    class_agreement: the same by class, or the judge's class shares of an unconditional model.
    mean_confidence: mean of the judge's highest probability.
    utility: accuracy on real images of a classifier that learnt from samples only.
    """

    label_agreement: float | None
    class_agreement: dict[str, float]
    mean_confidence: float
    utility: float
    agreement_samples: int
    utility_samples: int
    real_images: int

    def as_json(self) -> dict[str, object]:
        """Rounded to four places, for spec and card."""
        document = asdict(self)
        document["class_agreement"] = {k: round(v, 4) for k, v in self.class_agreement.items()}
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in document.items()}


def measure(
    spec: ModelSpec, generator: Generator, judge: Classifier, real: Corpus, effort: Effort
) -> Figures:
    """Figures of a model against `real` images that neither it nor the judge has learnt from."""
    classes = len(spec.class_names)
    drawn = draw_labelled(spec, generator, effort.agreement_samples // classes, seed=1)
    verdicts = predict(judge, drawn.images)  # [N, classes of the judge]
    agreement, by_class = _agreement(spec, drawn, verdicts, real.classes)
    material = draw_labelled(spec, generator, effort.utility_samples // classes, seed=2)
    if not spec.conditional:
        labels = predict(judge, material.images).argmax(axis=1)
        material = Corpus(material.images, labels.astype(np.int64), real.classes)
    return Figures(
        label_agreement=agreement,
        class_agreement=by_class,
        mean_confidence=float(verdicts.max(axis=1).mean()),
        utility=accuracy(fit(material, budget(effort)), real),
        agreement_samples=len(drawn),
        utility_samples=len(material),
        real_images=len(real),
    )


def budget(effort: Effort) -> Budget:
    """The fixed budget of the classifier that learns from samples, or from real images beside."""
    return Budget(epochs=effort.epochs, bfloat16=effort.bfloat16)


def _agreement(
    spec: ModelSpec, drawn: Corpus, verdicts: npt.NDArray[np.float32], names: tuple[str, ...]
) -> tuple[float | None, dict[str, float]]:
    guesses = verdicts.argmax(axis=1)
    if not spec.conditional:
        shares = np.bincount(guesses, minlength=len(names)) / len(guesses)
        return None, dict(zip(names, shares.tolist(), strict=True))
    right = guesses == drawn.labels
    by_class = [float(right[drawn.labels == label].mean()) for label in range(len(names))]
    return float(right.mean()), dict(zip(names, by_class, strict=True))
