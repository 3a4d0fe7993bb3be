"""Fidelity and diversity: samples against real images, both as feature vectors.

KID: Bińkowski et al. 2018. FID: Heusel et al. 2017. Precision and recall: Kynkäänniemi et al.
2019. Density and coverage: Naeem et al. 2020. KID and FID are computed by torchmetrics.
"""

from __future__ import annotations

import warnings
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.evaluation.estimate import Figure, FigureName, Interval
from models.evaluation.intervals import binomial, bootstrap, subsets
from models.evaluation.neighbours import Points, inside, radii

KID_SUBSETS: Final = 50
KID_SUBSET: Final = 1000
FID_SUBSETS: Final = 8
FID_SAMPLES_A_DIMENSION: Final = 5
LEAST: Final = 20
"""Below so many samples or real images, nothing is said."""


class Ruler(NamedTuple):
    """How features are compared. backbone: its name. neighbours: k. seed: of subsets."""

    backbone: str
    neighbours: int
    seed: int


def fidelity(real: Points, synthetic: Points, ruler: Ruler) -> dict[FigureName, Figure]:
    """All six figures of features float32 [N, D] and [M, D]; too few give reasons, not values."""
    few = min(len(real), len(synthetic))
    if few < max(LEAST, ruler.neighbours + 1):
        reason = f"{few} images are too few: {max(LEAST, ruler.neighbours + 1)} are wanted"
        return {name: _figure(name, real, synthetic, ruler, reason=reason) for name in BETTER}
    found: dict[FigureName, Figure] = {
        "kid": _kid(real, synthetic, ruler),
        "fid": _fid(real, synthetic, ruler),
    }
    return found | _manifolds(real, synthetic, ruler)


BETTER: Final[dict[FigureName, Any]] = {
    "kid": "lower",
    "fid": "lower",
    "precision": "higher",
    "recall": "higher",
    "density": "higher",
    "coverage": "higher",
}


def _figure(
    name: FigureName,
    real: Points,
    synthetic: Points,
    ruler: Ruler,
    value: float | None = None,
    interval: Interval | None = None,
    reason: str | None = None,
) -> Figure:
    return Figure(
        value=value, interval=interval, synthetic=len(synthetic), real=len(real),
        backbone=ruler.backbone, better=BETTER[name], reason=reason,
    )  # fmt: skip


# Distances of distributions


def _kid(real: Points, synthetic: Points, ruler: Ruler) -> Figure:
    """Unbiased squared MMD with the kernel (x·y / D + 1)³, mean over random subsets."""
    count = min(len(real), len(synthetic))
    subset = min(KID_SUBSET, count // 2)
    mean, spread = kernel_distance(real, synthetic, subset, ruler.seed)
    ends = subsets(mean, spread, subset, count)
    return _figure("kid", real, synthetic, ruler, mean, ends)


def kernel_distance(real: Points, synthetic: Points, subset: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of KID over KID_SUBSETS pairs of subsets of that size."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore", UserWarning)  # it keeps all features, which is wanted
        metric = KernelInceptionDistance(
            feature=_Given(real.shape[1]), subsets=KID_SUBSETS, subset_size=subset
        )
        metric.update(torch.from_numpy(real).double(), real=True)
        metric.update(torch.from_numpy(synthetic).double(), real=False)
        mean, spread = metric.compute()
    return float(mean), float(spread)


def _fid(real: Points, synthetic: Points, ruler: Ruler) -> Figure:
    """Fréchet distance of the normals with the features' means and covariances.

    A covariance of N samples has rank N - 1 at most: below D + 1 samples of D features it is
    singular, and well above that the distance is still too large by about a constant over N.
    Heusel et al. ask for 10,000 images at 2,048 features, about five a dimension; so do we.
    """
    size, count = real.shape[1], min(len(real), len(synthetic))
    needed = FID_SAMPLES_A_DIMENSION * size
    if count < needed:
        reason = (
            f"FID compares covariances of {size} features; from {count} images they have rank "
            f"{min(count - 1, size)} and large errors. {needed} images of either kind are wanted: "
            f"{FID_SAMPLES_A_DIMENSION} a feature"
        )
        return _figure("fid", real, synthetic, ruler, reason=reason)
    value = frechet_distance(real, synthetic)
    draw, half = np.random.default_rng(ruler.seed), count // 2
    spread = np.std(
        [
            frechet_distance(_some(real, half, draw), _some(synthetic, half, draw))
            for _ in range(FID_SUBSETS)
        ],
        ddof=1,
    )
    ends = subsets(value, float(spread), half, count)
    return _figure("fid", real, synthetic, ruler, value, ends)


def frechet_distance(real: Points, synthetic: Points) -> float:
    """FID of two sets of features, by torchmetrics in float64."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    metric.update(torch.from_numpy(real).double(), real=True)
    metric.update(torch.from_numpy(synthetic).double(), real=False)
    return float(metric.compute())


class _Given(nn.Module):
    """An extractor for torchmetrics whose images are features already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


def _some(points: Points, count: int, draw: np.random.Generator) -> Points:
    return points[draw.permutation(len(points))[:count]]


# Balls about points


def _manifolds(real: Points, synthetic: Points, ruler: Ruler) -> dict[FigureName, Figure]:
    """Precision, recall, density, coverage.

    The balls are held fixed; the interval says how another draw of what is judged would differ.
    """
    k = ruler.neighbours
    real_radii, synthetic_radii = radii(real, k), radii(synthetic, k)
    by_real = inside(synthetic, real, real_radii)
    by_synthetic = inside(real, synthetic, synthetic_radii)
    shares: dict[FigureName, npt.NDArray[np.bool_]] = {
        "precision": by_real.balls > 0,
        "recall": by_synthetic.balls > 0,
        "coverage": by_synthetic.nearest < real_radii,
    }
    found = {
        name: _figure(
            name, real, synthetic, ruler, float(hits.mean()), binomial(int(hits.sum()), len(hits))
        )
        for name, hits in shares.items()
    }
    balls = by_real.balls / k
    ends = bootstrap(balls, ruler.seed)
    found["density"] = _figure("density", real, synthetic, ruler, float(balls.mean()), ends)
    return {name: found[name] for name in ("precision", "recall", "density", "coverage")}
