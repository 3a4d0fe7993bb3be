"""Plain properties of samples over those of real images: what a glance would see first."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.evaluation.features import Features, Pixels
from models.evaluation.findings import Appearance

LOWEST: Final = 1e-3
"""A property of real images below this is divided by this: blank images have no contrast."""


def appearance(real: Pixels, synthetic: Pixels, diversity: dict[str, float]) -> Appearance:
    """uint8 [N, H, W, C] of equally composed sets. diversity: see `diversity_ratios`."""
    return Appearance(
        roughness=_ratio(roughness(synthetic), roughness(real)),
        contrast=_ratio(contrast(synthetic), contrast(real)),
        brightness=_ratio(float(synthetic.mean()), float(real.mean())),
        diversity=float(np.mean(list(diversity.values()))) if diversity else 1.0,
        diversity_per_class=diversity,
    )


def _ratio(synthetic: float, real: float) -> float:
    return synthetic / max(real, LOWEST)


def roughness(images: Pixels) -> float:
    """Mean absolute difference of neighbouring pixels, in levels of 0 ... 255."""
    steps = [_mean_step(images, axis) for axis in (1, 2) if images.shape[axis] > 1]
    return float(np.mean(steps)) if steps else 0.0


def _mean_step(images: Pixels, axis: int) -> float:
    levels = np.moveaxis(images, axis, 1).astype(np.int16)
    return float(np.abs(np.diff(levels, axis=1)).mean())


def contrast(images: Pixels) -> float:
    """Mean standard deviation of the pixels of an image, in levels."""
    return float(images.reshape(len(images), -1).std(axis=1).mean())


def spread(features: Features) -> float:
    """Root mean square distance of feature vectors [N, D] to their mean."""
    return float(np.sqrt(features.var(axis=0, dtype=np.float64).sum()))


def diversity_ratios(
    real: Features,
    real_labels: npt.NDArray[np.int64],
    synthetic: Features,
    synthetic_labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> dict[str, float]:
    """By class with two of either kind: `spread` of the samples over that of the real images."""
    found = {}
    for label, name in enumerate(classes):
        ours, theirs = synthetic[synthetic_labels == label], real[real_labels == label]
        if min(len(ours), len(theirs)) > 1:
            found[name] = _ratio(spread(ours), spread(theirs))
    return found
