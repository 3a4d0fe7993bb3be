"""Training of the classifier: Adam, cross entropy, a falling step size, a fixed budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from models.classifier import Classifier
from models.corpus.corpus import Corpus
from models.generator import from_pixels
from models.training.sampling import Batches

Augment = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Budget:
    """How much a classifier may learn.

    epochs: passes over the images, unless
    steps: says how many batches there are.
    rate: Adam's highest step size, reached after a tenth of the steps and falling to nothing
        along a cosine (Loshchilov & Hutter 2017).
    shift: images are moved by up to so many pixels; 0 for none.
    width: of the classifier.
    """

    epochs: int = 1
    steps: int | None = None
    batch_size: int = 128
    rate: float = 3e-3
    shift: int = 0
    seed: int = 0
    bfloat16: bool = False
    width: int = 32


def fit(corpus: Corpus, budget: Budget, augment: Augment | None = None) -> Classifier:
    """A classifier that has seen nothing but `corpus`, in eval mode.

    augment: what each batch goes through, float [N, C, H, W] in (0, 1) -> the same shape;
        drawn from the stream that the budget's seed begins.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(budget.seed)
        classifier = Classifier(corpus.image, len(corpus.classes), budget.width)
        classifier.to(memory_format=torch.channels_last).train()
        _descend(classifier, corpus, budget, augment)
    return classifier.eval()


def _descend(
    classifier: Classifier, corpus: Corpus, budget: Budget, augment: Augment | None
) -> None:
    batches = Batches(corpus, min(budget.batch_size, len(corpus)), budget.seed)
    steps = budget.steps or budget.epochs * batches.per_epoch
    optimizer = torch.optim.AdamW(classifier.parameters(), budget.rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, budget.rate, total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        pixels, labels = batches.at(step)
        images = _shifted(from_pixels(pixels, classifier.value_range), budget.shift)
        images = images if augment is None else augment(images)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, budget.bfloat16):
            logits = classifier(images)
        loss = F.cross_entropy(logits.float(), torch.from_numpy(labels))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()


def _shifted(images: Tensor, most: int) -> Tensor:
    """The whole batch moved by one random offset, zeros coming in."""
    if not most:
        return images
    down, right = torch.randint(-most, most + 1, (2,)).tolist()
    height, width = images.shape[2:]
    padded = F.pad(images, (most, most, most, most))
    top, left = most + down, most + right
    return padded[:, :, top : top + height, left : left + width]


@torch.inference_mode()
def predict(
    classifier: Classifier, pixels: npt.NDArray[np.uint8], batch_size: int = 500
) -> npt.NDArray[np.float32]:
    """uint8 [N, H, W, C] -> class probabilities float32 [N, class_count]."""
    classifier.eval()
    parts = [
        classifier(from_pixels(pixels[start : start + batch_size], classifier.value_range))
        for start in range(0, len(pixels), batch_size)
    ]
    logits = torch.cat(parts) if parts else torch.empty(0, classifier.class_count)
    probabilities: npt.NDArray[np.float32] = logits.softmax(dim=1).numpy()
    return probabilities


def accuracy(classifier: Classifier, corpus: Corpus) -> float:
    """Share of the images whose likeliest class is their label."""
    guesses = predict(classifier, corpus.images).argmax(axis=1)
    return float((guesses == corpus.labels).mean())
