"""`python -m tests.benchmarks.recipes [--seconds S] [--seeds K] [ARCHITECTURE …]`.

What each option of a recipe does on the 1,797 handwritten digits of scikit-learn (8 x 8): every
variant learns for the same processor time, from 1,297 images, on one thread. Of 2,000 samples, two
hundred of each digit, it prints

* agreement: the share that a support vector machine, which learnt the 1,297 real images, names as
  the digit asked for. Of a model without labels: how even its digits are (1 when all ten are as
  frequent), by the same judge.
* real accuracy: how often another such machine, which learnt the samples alone, is right on the
  500 real images that nobody has learnt from.

The table is Markdown; figures are means over the seeds, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from pydantic import JsonValue
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from models.corpus.corpus import Corpus
from models.generator import Generator, from_pixels, sample
from models.latents import normal
from models.registry import ARCHITECTURES, build
from models.spec import ModelSpec, Weights
from models.training.average import update_average, warmed
from models.training.recipe import OF_AUTOENCODERS, OF_GANS
from models.training.recipes import RECIPES
from models.training.sampling import Batches
from models.training.steps import pair_up

PER_CLASS, TEST = 200, 500
SIZES: Mapping[str, dict[str, JsonValue]] = {
    "cgan": {"base": 16, "stages": 1},
    "cvae": {"base": 16, "stages": 1},
    "stylegan2": {"style_dim": 32, "mapping_layers": 2, "channel_base": 256, "channel_max": 32,
                  "noise": "off"},
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """An architecture with options of its recipe in place of the default."""

    architecture: str
    options: Mapping[str, JsonValue] = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(f"`{k}={v}`" for k, v in self.options.items()) or "default"


@dataclass(frozen=True)
class Measured:
    """agreement and accuracy as the module says; steps that fitted into the time."""

    agreement: float
    accuracy: float
    steps: int


OPTIONS: tuple[dict[str, JsonValue], ...] = (
    {},
    {"loss": "logistic"},
    {"loss": "hinge"},
    {"loss": "wasserstein"},
    {"loss": "wasserstein", "discriminator_norm": "none"},
    {"loss": "wasserstein", "discriminator_norm": "spectral"},
    {"loss": "wasserstein", "critic_steps": 1},
    {"discriminator_norm": "none"},
    {"discriminator_norm": "spectral"},
    {"discriminator_norm": "batch"},
    {"discriminator_norm": "layer"},
    {"pretraining_steps": 100},
    {"initialisation": "normal"},
    {"initialisation": "he"},
    {"classification_weight": 0.2},
    {"classification_weight": 1},
    {"augmentation": "translation"},
    {"augmentation": "translation,cutout,colour"},
    {"dropout": 0.3},
    {"dropout": 0},
    {"average_decay": 0},
    {"average_decay": 0.99},
    {"clip_norm": 1},
    {"weight_decay": 0.01},
    {"generator_rate": 1e-3, "partner_rate": 1e-3},
    {"generator_rate": 1e-3, "partner_rate": 2e-3},
    {"generator_rate": 3e-3, "partner_rate": 3e-3},
    {"kl_weight": 0.5},
    {"kl_weight": 2},
    {"kl_warmup_steps": 500},
    {"pixel_variance": 0.03},
    {"pixel_variance": 0.02},
)


def variants(architecture: str) -> list[Variant]:
    """Every line of `OPTIONS` that changes this architecture's recipe."""
    recipe = RECIPES[architecture]
    kept: dict[str, Variant] = {}
    for options in OPTIONS:
        foreign = set(options) & {*(OF_GANS if recipe.variational else OF_AUTOENCODERS)}
        if foreign or (recipe.variational and "loss" in options):
            continue
        changed = recipe.with_overrides(options)
        kept.setdefault(str(changed), Variant(architecture, options))
    return list(kept.values())


def read() -> tuple[Corpus, Corpus]:
    """1,297 digits to learn from and 500 to test on."""
    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    classes = tuple(str(k) for k in range(10))
    train, test = order[:-TEST], order[-TEST:]
    return Corpus(pixels[train], labels[train], classes), Corpus(
        pixels[test], labels[test], classes
    )


def train(variant: Variant, corpus: Corpus, seconds: float, seed: int) -> tuple[Generator, int]:
    """The averaged generator after so much processor time, and its steps."""
    recipe = RECIPES[variant.architecture].with_overrides(variant.options)
    torch.manual_seed(seed)
    spec = _spec(variant.architecture, corpus, recipe.latent_size)
    pair = pair_up(spec, build(spec), recipe, steps=1_000_000)
    average = deepcopy(pair.generator).eval().requires_grad_(False)
    batches = Batches(corpus, recipe.batch_size, seed, recipe.sampling)
    step, end = 0, time.process_time() + seconds
    while time.process_time() < end:
        pixels, labels = batches.at(step)
        images = from_pixels(pixels, pair.generator.value_range)
        images = images.contiguous(memory_format=torch.channels_last)
        pair.update(images, torch.from_numpy(labels), step)
        update_average(average, pair.generator, warmed(recipe.average_decay, step))
        step += 1
    return average, step


def _spec(architecture: str, corpus: Corpus, latent_size: int) -> ModelSpec:
    generator = ARCHITECTURES[architecture].generator
    return ModelSpec(
        name="digits", version="1.0.0", family=generator.family, architecture=architecture,
        options=SIZES.get(architecture, {}), image=corpus.image, latent_size=latent_size,
        conditioning="class", classes=corpus.classes, value_range=generator.value_range,
        licence="none", weights=Weights(sha256="0" * 64, bytes=1),
    )  # fmt: skip


def measure(generator: Generator, judge: SVC, test: Corpus) -> tuple[float, float]:
    """Agreement and accuracy on real digits."""
    count = PER_CLASS * generator.class_count
    labels = np.arange(count, dtype=np.int64) % generator.class_count
    z = normal(seed=1, model="0" * 64, shard=0, first=0, count=count, size=generator.latent_size)
    pixels = flat(sample(generator, z, labels).pixels)
    agreement = float((judge.predict(pixels) == labels).mean())
    return agreement, float(machine(pixels, labels).score(flat(test.images), test.labels))


def flat(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """uint8 [N, 8, 8, 1] -> float64 [N, 64] in 0 ... 16, as the digits come."""
    return images.reshape(len(images), -1) * (16 / 255)


def machine(pixels: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> SVC:
    """Support vectors with the kernel that scikit-learn's own example takes for these digits."""
    return SVC(gamma=0.001).fit(pixels, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", metavar="ARCHITECTURE")
    parser.add_argument("--seconds", type=float, default=30, help="of processor time each")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    corpus, test = read()
    judge = machine(flat(corpus.images), corpus.labels)
    score = judge.score(flat(test.images), test.labels)
    print(f"The judge is right on {score:.3f} of the test images.\n")
    print("| architecture | options | agreement | real accuracy | steps |\n|---|---|---|---|---|")
    for architecture in chosen.architectures or sorted(RECIPES):
        for variant in variants(architecture):
            found = []
            for seed in range(chosen.seeds):
                generator, steps = train(variant, corpus, chosen.seconds, seed)
                found.append(Measured(*measure(generator, judge, test), steps))
            print(_row(variant, found), flush=True)


def _row(variant: Variant, found: list[Measured]) -> str:
    agreement = _spread([one.agreement for one in found])
    accuracy = _spread([one.accuracy for one in found])
    steps = int(np.mean([one.steps for one in found]))
    return f"| `{variant.architecture}` | {variant} | {agreement} | {accuracy} | {steps:,} |"


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    sys.exit(main())
