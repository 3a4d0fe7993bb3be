"""The training curve of a card: losses over the steps, as a small PNG."""

from __future__ import annotations

import csv
from pathlib import Path


def draw_curve(losses: Path, chosen_step: int, target: Path) -> None:
    """Plot every column of a run's losses.csv against its steps, and mark the chosen one."""
    from matplotlib.figure import Figure  # heavy, and needed here only

    with losses.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    steps = [int(row["step"]) for row in rows]
    names = [name for name in rows[0] if name not in ("step", "seconds")]
    figure = Figure(figsize=(6.4, 2.8), dpi=80, layout="constrained")
    axes = figure.add_subplot()
    for name in names:
        axes.plot(steps, [float(row[name]) for row in rows], label=name, linewidth=0.8)
    axes.axvline(chosen_step, color="0.4", linestyle="--", linewidth=0.8, label="shipped")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(target, metadata={"Software": None})
