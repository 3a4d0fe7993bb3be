"""Pictures of the documents, from what a run has written.

Reads `build/bench.json` and `build/profile.json`; a picture whose figures are not there is left
as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patches import Patch

FIGURES = Path("build/bench.json")
PROFILE = Path("build/profile.json")
PICTURES = Path("docs/pictures")

COLOURS: Mapping[str, str] = {
    "latents": "#8c6bb1",
    "device": "#2b6cb0",
    "uint8": "#63a4ff",
    "encoding": "#2f855a",
    "hashes": "#9ae6b4",
    "shard file": "#d69e2e",
    "shard loop": "#f6e05e",
    "archive": "#b7791f",
    "rows and commit": "#c53030",
    "database": "#fc8181",
    "durable engine": "#6b2737",
    "API to worker": "#0d9488",
    "HTTP": "#5eead4",
    "request and plan": "#a0aec0",
    "answer's file": "#ed8936",
    "other": "#e2e8f0",
}
LEAST_CORES = 0.01
"""Of a core: a thread that computes less is left out."""

PROFILES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "job-stages.png": (
        ("job", "Worker during a job of fashion-cgan (convolutional)"),
        ("job_article", "Worker during a job of fashion-gan (multilayer perceptron)"),
    ),
    "request-stages.png": (
        ("requests_convolutional_api", "API, 64 clients × 16, convolutional network"),
        ("requests_convolutional_worker", "Worker, the same"),
        ("requests_small_api", "API, 64 clients × 16, network of 5 ms a batch"),
        ("requests_small_worker", "Worker, the same"),
    ),
}
CURVES: tuple[tuple[str, str, str], ...] = (
    (r"n_(\d+)_microseconds_per_sample", "samples of the job", "µs a sample"),
    (r"classes_(\d+)_microseconds_per_sample", "classes, 10,000 samples", "µs a sample"),
    (r"jobs_(\d+)_samples_per_second", "jobs at once, 2,000 samples each", "samples/s of all"),
)


def draw_curves(figures: Mapping[str, float], target: Path) -> bool:
    """Cost against N, classes and jobs; False when a curve has no points."""
    curves = [(_points(figures, pattern), x, y) for pattern, x, y in CURVES]
    if not all(points for points, _, _ in curves):
        return False
    picture, axes = plt.subplots(1, len(curves), figsize=(11, 3.2), layout="constrained")
    for axis, (points, x_label, y_label) in zip(axes, curves, strict=True):
        axis.plot(*zip(*points, strict=True), marker="o", color=COLOURS["device"])
        axis.set_xscale("log")
        axis.set_xticks([x for x, _ in points], [f"{x:,}" for x, _ in points])
        axis.minorticks_off()
        axis.set_ylim(0, 1.1 * max(y for _, y in points))
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        axis.grid(alpha=0.3)
    picture.savefig(target, dpi=110)
    return True


def draw_profiles(profile: Mapping[str, Any], names: tuple[tuple[str, str], ...], to: Path) -> bool:
    """A panel a process, a bar a thread, a colour a stage; False when a process is missing."""
    if not all(name in profile for name, _ in names):
        return False
    heights = [1 + len(_busy(profile[name])) for name, _ in names]
    picture, axes = plt.subplots(
        *(len(names), 1),
        figsize=(9, 1.0 + 0.42 * sum(heights)),
        sharex=True,
        height_ratios=heights,
        layout="constrained",
    )
    for axis, (name, title) in zip(axes, names, strict=True):
        _bars(axis, _busy(profile[name]))
        axis.set_title(title, fontsize=10, loc="left")
    axes[-1].set_xlabel("cores in use (processor time over wall time)")
    drawn = {stage for name, _ in names for part in _busy(profile[name]).values() for stage in part}
    keys = [Patch(color=COLOURS[s], label=s) for s in COLOURS if s in drawn]
    picture.legend(handles=keys, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    picture.savefig(to, dpi=110)
    return True


def _bars(axis: Any, threads: Mapping[str, Mapping[str, float]]) -> None:
    for row, stages in enumerate(threads.values()):
        left = 0.0
        for stage in COLOURS:
            width = stages.get(stage, 0.0)
            axis.barh(row, width, left=left, color=COLOURS[stage], height=0.7)
            left += width
    axis.set_yticks(range(len(threads)), threads)
    axis.invert_yaxis()
    axis.axvline(1.0, color="#4a5568", linewidth=0.8, linestyle=":")


def _busy(threads: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """Threads that do something, the busiest first."""
    kept = [pair for pair in threads.items() if sum(pair[1].values()) >= LEAST_CORES]
    return dict(sorted(kept, key=lambda pair: -sum(pair[1].values())))


def _points(figures: Mapping[str, float], pattern: str) -> list[tuple[int, float]]:
    found = [(re.fullmatch(pattern, name), value) for name, value in figures.items()]
    return sorted((int(match[1]), value) for match, value in found if match)


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return document


def draw() -> None:
    """Draw what there are figures for."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    profile = _read(PROFILE)
    drawn = {"cost.png": draw_curves(_read(FIGURES), PICTURES / "cost.png")}
    for name, parts in PROFILES.items():
        drawn[name] = draw_profiles(profile, parts, PICTURES / name)
    for name, there in drawn.items():
        sys.stdout.write(f"{PICTURES / name}: {'drawn' if there else 'no figures, left alone'}\n")
