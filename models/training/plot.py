"""The curves of a run as a small PNG: losses above, figures of the snapshots below."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from pydantic import JsonValue

from models.files import write_atomically

FIGURES: Final = ("score", "kid", "label_agreement", "diversity")


def draw_curves(record: Mapping[str, JsonValue], chosen_step: int, target: Path) -> None:
    """Plot `record["curves"]`, and mark the step that was chosen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy, and needed here only
    from matplotlib.figure import Figure

    curves = cast(Mapping[str, Any], record["curves"])
    losses = [name for name in curves if name not in FIGURES]
    figures = [name for name in curves if name in FIGURES]
    figure = Figure(figsize=(6.4, 4.2), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, names, style in ((above, losses, "-"), (below, figures, ".-")):
        for name in names:
            label = name.replace("_", " ")
            axes.plot(
                curves[name]["step"], curves[name]["value"], style, label=label, linewidth=0.8
            )
        axes.axvline(chosen_step, color="0.4", linestyle="--", linewidth=0.8, label="chosen")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    above.set_ylabel("loss")
    below.set_ylabel("figure")
    below.set_xlabel("step")
    picture = io.BytesIO()
    figure.savefig(picture, metadata={"Software": None})
    write_atomically(target, picture.getvalue())
