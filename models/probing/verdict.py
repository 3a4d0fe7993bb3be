"""What is wrong with a generator, judged by the figures of its probe. Imports no torch.

The limits lie between ten trained generators and the same networks untrained: contrast 65 … 90
against 1 … 16, smoothness 0.78 … 0.92 against -0.08 … 0.71, diversity of the least diverse class
0.19 of the contrast or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.probing.report import Finding, ProbeReport, Severity
from models.spec import ModelSpec

MOST_OUTSIDE = 0.01
LEAST_CONTRAST = 20.0
LEAST_SMOOTHNESS = 0.3
LEAST_DIVERSITY = 0.06
"""Of the contrast."""
LEAST_LABEL_EFFECT = 1.0
MOST_ALONE = 8
USED_RANGE = 0.25
USUAL_RANGES = ((-1.0, 1.0), (0.0, 1.0))


def judged(report: ProbeReport, spec: ModelSpec, broken: Sequence[str]) -> tuple[Finding, ...]:
    """What is wrong; weaknesses are not looked for in what is refused.

    broken: classes with values that are not finite.
    """
    if broken:
        return (_not_finite(broken),)
    return tuple(_mistakes(report, spec)) or tuple(_weaknesses(report))


def _not_finite(broken: Sequence[str]) -> Finding:
    shown = ", ".join(ascii(name) for name in broken[:5])
    return _refused(
        "not-finite",
        f"It gives NaN or infinity for {shown}: its training diverged, or the file is damaged. "
        "Take an earlier checkpoint.",
    )


def _mistakes(report: ProbeReport, spec: ModelSpec) -> Iterator[Finding]:
    low, high = spec.value_range
    span = f"Its values span {report.lowest:.3g} … {report.highest:.3g}"
    if report.outside > MOST_OUTSIDE:
        yield _refused(
            "out-of-range",
            f"{span}, beyond the stated value_range [{low:g}, {high:g}]. State the range of its "
            "last layer: [-1, 1] after tanh, [0, 1] after sigmoid, [0, 255] for pixels; or add "
            "the activation that is missing.",
        )
    elif _of_another_range(report, spec):
        yield _refused(
            "range-unused",
            f"{span}, a small part of the stated value_range [{low:g}, {high:g}], so its images "
            "would be flat. State the range that its last layer has.",
        )
    if report.alone > MOST_ALONE:
        yield _refused(
            "depends-on-batch",
            f"An image drawn alone differs by {report.alone} of 255 levels from the same one in a "
            "batch, so no sample could be drawn again. Export it in evaluation mode, without "
            "statistics over the batch.",
        )


def _of_another_range(report: ProbeReport, spec: ModelSpec) -> bool:
    """Whether the values fill a usual range that is much smaller than the stated one."""
    low, high = spec.value_range
    return any(
        b - a < USED_RANGE * (high - low)
        and a - 0.01 <= report.lowest
        and report.highest <= b + 0.01
        and report.highest - report.lowest > (b - a) / 2
        for a, b in USUAL_RANGES
    )


def _weaknesses(report: ProbeReport) -> Iterator[Finding]:
    if report.contrast < LEAST_CONTRAST:
        yield _degenerate(
            "constant",
            f"Its images are nearly one flat tone (contrast {report.contrast:.1f} of 255 levels): "
            "it is untrained or has died, or its weights belong to another network.",
        )
        return
    if report.smoothness < LEAST_SMOOTHNESS:
        yield _degenerate(
            "noise",
            f"Its images are noise: neighbouring pixels correlate by {report.smoothness:.2f}. It "
            "is untrained, or its weights belong to another network.",
        )
    if report.least_diversity < LEAST_DIVERSITY * report.contrast:
        yield _degenerate(
            "collapsed",
            f"Images of {report.least_diverse!a} hardly differ ({report.least_diversity:.1f} of "
            "255 levels on average): it has collapsed, and N samples of it teach a classifier no "
            "more than one.",
        )
    if report.label_effect is not None and report.label_effect < LEAST_LABEL_EFFECT:
        yield _degenerate(
            "ignores-label",
            f"The label hardly changes its images ({report.label_effect:.2f} of 255 levels on "
            "average): check how label and latent are joined.",
        )


def _refused(code: str, detail: str) -> Finding:
    return Finding(code=code, severity=Severity.REFUSED, detail=detail)


def _degenerate(code: str, detail: str) -> Finding:
    return Finding(code=code, severity=Severity.DEGENERATE, detail=detail)
