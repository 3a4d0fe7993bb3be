"""One classifier of a lift: learnt from one arm with one seed, and tested. Kept once it is known.

Every classifier takes the same number of steps with batches of one size: an arm with more images
does not learn longer, it sees each image less often. Nothing is selected along the way; the
weights of the last step are tested.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import Field, ValidationError
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode, v2

from models.corpus.corpus import Corpus
from models.evaluation.lift_arms import Plan, choose, joined
from models.evaluation.lift_material import Material
from models.evaluation.lift_options import LiftOptions
from models.evaluation.lift_result import Classical
from models.evaluation.lift_statistics import balanced
from models.files import write_atomically
from models.generator import as_tensor
from models.spec import Frozen
from models.training.classify import Budget, fit, predict

PROCEDURE: Final = 1
"""Raised when the same options would give another classifier, so that kept ones are not used."""
WIDTH: Final = 16
"""Of the classifier: half of the judge's. A lift takes dozens; these learn in 40 % of the time."""
SIDE_LIMIT: Final = 64
GROUP: Final = 8
PASSES, FEWEST_STEPS, MOST_STEPS = 6, 300, 1500


class Learnt(Frozen):
    """What one classifier said.

    guesses: its likeliest class of each test image.
    validation: balanced accuracy on the images kept out of training.
    """

    guesses: tuple[int, ...]
    validation: float = Field(ge=0, le=1)
    seconds: float = Field(ge=0)


def steps_of(options: LiftOptions, train: Corpus) -> int:
    """Steps of each classifier."""
    passes = PASSES * len(train) // options.batch_size
    return options.steps or min(max(passes, FEWEST_STEPS), MOST_STEPS)


def learnt(plan: Plan, seed: int, images: Material, options: LiftOptions, cache: Path) -> Learnt:
    """The classifier's answers, from `cache` when they are there."""
    path = cache / f"{_key(plan, seed, images, options)}.json"
    known = _read(path, images)
    if known is None:
        known = _learn(plan, seed, images, options)
        cache.mkdir(parents=True, exist_ok=True)
        write_atomically(path, known.model_dump_json().encode())
    return known


def _key(plan: Plan, seed: int, images: Material, options: LiftOptions) -> str:
    """SHA-256 of all that decides the answers."""
    classical = options.classical if plan.classical else None
    facts = {
        "procedure": PROCEDURE,
        "arm": plan.name,
        "seed": seed,
        "steps": steps_of(options, images.train),
        "batch_size": options.batch_size,
        "classical": classical and classical.model_dump(),
        "train": images.train.sha256,
        "validation": images.validation and images.validation.sha256,
        "test": images.test.sha256,
        "synthetic": None if plan.synthetic == "none" else images.synthetic.sha256,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(path: Path, images: Material) -> Learnt | None:
    """Nothing where there is no file, or not the one that was written."""
    try:
        known = Learnt.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return known if len(known.guesses) == len(images.test) else None


def _learn(plan: Plan, seed: int, images: Material, options: LiftOptions) -> Learnt:
    began = time.monotonic()
    real, validation = images.part(seed)
    corpus = shrunk(joined(choose(plan, real, images.synthetic, seed), real, images.synthetic))
    budget = Budget(
        steps=steps_of(options, images.train),
        batch_size=options.batch_size,
        seed=seed,
        width=WIDTH,
    )
    classical = options.classical if plan.classical else None
    classifier = fit(corpus, budget, None if classical is None else augmenter(classical, corpus))
    checked = predict(classifier, shrunk(validation).images).argmax(axis=1)
    guesses = predict(classifier, shrunk(images.test).images).argmax(axis=1)
    return Learnt(
        guesses=tuple(guesses.tolist()),
        validation=balanced(checked == validation.labels, validation.labels),
        seconds=time.monotonic() - began,
    )


def augmenter(classical: Classical, corpus: Corpus) -> Callable[[Tensor], Tensor]:
    """Random flips, turns and crops: float [N, C, H, W] in, the same out.

    torchvision draws once for the tensor that it is given, so a batch is cut into groups of 8
    images, which share a draw; one draw an image would take longer than learning from it.
    """
    image = corpus.image
    size = (image.height, image.width)
    parts: list[torch.nn.Module] = []
    if classical.horizontal_flip:
        parts.append(v2.RandomHorizontalFlip())
    if classical.vertical_flip:
        parts.append(v2.RandomVerticalFlip())
    if classical.degrees:
        parts.append(v2.RandomRotation(classical.degrees, InterpolationMode.BILINEAR))
    if classical.crop < 1:
        parts.append(v2.RandomResizedCrop(size, (classical.crop, 1.0), (0.9, 1.1), antialias=True))
    change = v2.Compose([*parts, v2.Identity()])

    def augment(images: Tensor) -> Tensor:
        changed = torch.empty_like(images)
        groups = -(-len(images) // GROUP)
        for group in range(groups):
            # Every so-manieth image: a batch is sorted by class, and a group should not be.
            changed[group::groups] = change(images[group::groups])
        return changed

    return augment


def shrunk(corpus: Corpus) -> Corpus:
    """Averaged over squares until no side is above 64 pixels, so that a small network suits."""
    _, height, width, _ = corpus.images.shape
    factor = -(-max(height, width) // SIDE_LIMIT)
    if factor == 1:
        return corpus
    parts = [
        F.avg_pool2d(as_tensor(images).permute(0, 3, 1, 2).float(), factor, ceil_mode=True)
        for images in np.array_split(corpus.images, -(-len(corpus) // 256))
    ]
    levels = torch.cat(parts).round().to(torch.uint8).permute(0, 2, 3, 1)  # [N, h, w, C]
    return Corpus(levels.contiguous().numpy(), corpus.labels, corpus.classes)
