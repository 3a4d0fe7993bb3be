"""Plots as SVG, to stand inside a page: their colours are those of the page, light or dark.

Drawn by matplotlib, which only workers have; it is imported when something is drawn.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from app.quality.document import Curve
from models.evaluation.lift_result import Arm, LiftResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GRID, FAINT = "#010101", "#010102", "#010103"
SERIES = ("#010111", "#010112", "#010113", "#010114")
_COLOURS = {
    INK: "var(--ink)", GRID: "var(--grid)", FAINT: "var(--faint)",
    **dict(zip(SERIES, ("var(--one)", "var(--two)", "var(--three)", "var(--four)"), strict=True)),
}  # fmt: skip
"""Stand-ins that are drawn with, and the variables of the page that take their places."""

_PATHS = re.compile(r'(\bid="|href="#|url\(#)')
_drawing = threading.Lock()
"""Held while something is drawn: matplotlib and its settings are not for two threads at a time."""

WIDTH_INCHES = 7.2


def lift(result: LiftResult) -> Markup:
    """Balanced accuracy of every arm with its interval, the reference as a line."""
    arms = [*result.arms, *filter(None, [result.train_on_synthetic])]

    def draw(axes: Axes) -> None:
        for place, arm in enumerate(arms):
            _draw_arm(axes, place, arm, _colour_of(arm, result))
        reference = result.arm(result.reference).balanced_accuracy.value
        axes.axvline(100 * reference, color=FAINT, linestyle="--", linewidth=1, zorder=0)
        axes.set_yticks(range(len(arms)), [arm.name.replace("+", " + ") for arm in arms])
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_xlabel("balanced accuracy, %")
        axes.grid(axis="x", color=GRID, linewidth=0.6)

    return _drawn(draw, 0.9 + 0.32 * len(arms), "lift")


def _draw_arm(axes: Axes, place: int, arm: Arm, colour: str) -> None:
    mean = arm.balanced_accuracy
    if mean.interval is not None:
        ends = 100 * mean.interval.low, 100 * mean.interval.high
        axes.plot(ends, (place, place), color=colour, linewidth=2, solid_capstyle="round")
    scores = [100 * score.balanced_accuracy for score in arm.scores]
    axes.plot(scores, [place] * len(scores), "|", color=colour, markersize=7, alpha=0.6)
    axes.plot([100 * mean.value], [place], "o", color=colour, markersize=6)


def _colour_of(arm: Arm, result: LiftResult) -> str:
    """One for what has no synthetic images, another for what has, a third for what was chosen."""
    if arm.name == result.advice.arm:
        return SERIES[2]
    return SERIES[0] if arm.synthetic == "none" else SERIES[1]


def training(curves: Sequence[Curve], number: int) -> Markup:
    """Every curve of a training over its steps; `number` tells several on one page apart."""

    def draw(axes: Axes) -> None:
        for place, curve in enumerate(curves):
            style = ("-", "--", ":", "-.")[place // len(SERIES) % 4]
            colour = SERIES[place % len(SERIES)]
            axes.plot(curve.steps, curve.values, style, color=colour, linewidth=1.2)
            axes.plot([], [], style, color=colour, label=curve.name)
        axes.set_xlabel("step")
        axes.grid(color=GRID, linewidth=0.6)
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)

    return _drawn(draw, 2.8, f"training-{number}")


def _drawn(draw: Callable[[Axes], None], height: float, name: str) -> Markup:
    """The SVG element of a figure with one pair of axes."""
    with _drawing:
        import matplotlib as mpl  # heavy, and needed here only
        from matplotlib.figure import Figure

        settings: dict[Any, Any] = {
            "svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif",
            "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID,
            "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": INK,
            "ytick.labelcolor": INK, "text.parse_math": False,
            "axes.spines.top": False, "axes.spines.right": False,
        }  # fmt: skip
        with mpl.rc_context(settings):
            figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
            draw(figure.add_subplot())
            file = io.StringIO()
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), name)


def _inline(svg: str, name: str) -> Markup:
    """An SVG document as an element of a page: no head, its ids and colours those of the page."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = _PATHS.sub(rf"\g<1>{name}-", element)
    for stand_in, colour in _COLOURS.items():
        element = element.replace(stand_in, colour)
    # matplotlib escapes what it writes as text; everything else in it is ours.
    return Markup(element)  # noqa: S704
