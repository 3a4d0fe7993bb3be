"""The verdict: one sentence that comes before every figure. Pure; imports no torch.

The thresholds were chosen on samples whose fault is known (docs/evaluation.md has the figures):
images of a network without training, noisy images, collapsed classes, copies of training images,
and on real images that must come out clean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from models.evaluation.estimate import Figure, FigureName
from models.evaluation.findings import Agreement, Appearance, Copies, Fidelity
from models.evaluation.results import Kind  # fmt: skip

Rows = dict[FigureName, Figure]

LOST: Final = 0.1
"""Untrained: less than this part of the held-out images' precision, and of their coverage."""
ROUGH: Final = 1.2
"""Noisy: so many times as rough as real images, and less than UNLIKE of their precision."""
SMOOTH: Final = 0.7
"""Blurred: less rough than this."""
COLLAPSED_DIVERSITY, COLLAPSED_COVERAGE = 0.3, 0.1
"""Collapsed class: less than either part of what real images of the class have."""
COPIED_SHARE: Final = 0.05
"""Copies: more samples than this nearer to a training image than the holdout's 1st percentile."""
EXPLAINED: Final = 1 / 3
"""And at least this part of them is explained by their being nearer to training than to holdout
images, more often than chance."""
AGREES: Final = 0.6
"""Mislabelled: less than this part of the classifier's accuracy on real images."""
UNLIKE, NARROW = 0.7, 0.5
"""Of the held-out images' precision, and coverage."""
NAMED: Final = 5


class Findings(NamedTuple):
    """What the verdict is made of."""

    fidelity: Fidelity
    copies: Copies
    agreement: Agreement
    appearance: Appearance


class Verdict(NamedTuple):
    """One sentence, and what it says for programs."""

    kind: Kind
    sentence: str


def verdict(found: Findings, advice: str | None = None) -> Verdict:
    """The gravest fault there is, or the fidelity, and what the lift recommends."""
    first = next(_faults(found), Verdict(Kind.FINE, _fine(found)))
    if advice is None or first.kind.unusable:
        return first
    return Verdict(first.kind, f"{first.sentence} {advice}")


def _faults(found: Findings) -> Iterator[Verdict]:
    for check in (_noisy, _untrained, _collapsed, _copied, _mislabelled, _unlike, _narrow):
        fault = check(found)
        if fault is not None:
            yield fault


def _noisy(found: Findings) -> Verdict | None:
    times = found.appearance.roughness
    if times < ROUGH or _of_held_out(found, "precision") >= UNLIKE:
        return None
    return Verdict(
        Kind.NOISY,
        f"Noisy: neighbouring pixels of the samples differ {times:.1f} times as much as in real "
        f"images, and {_percent(_value(found, 'precision'))} of the samples lie among these.",
    )


def _untrained(found: Findings) -> Verdict | None:
    lost = [_of_held_out(found, name) < LOST for name in ("precision", "coverage")]
    if not all(lost):
        return None
    return Verdict(
        Kind.UNTRAINED,
        f"Looks untrained or broken: {_percent(_value(found, 'precision'))} of the samples lie "
        f"among the real images{_wanted_class(found)}{_looks(found.appearance)}.",
    )


def _wanted_class(found: Findings) -> str:
    agrees = found.agreement.overall.value
    if agrees is None:
        return ""
    return f", the classifier sees the wanted class in {_percent(agrees)} of them"


def _looks(appearance: Appearance) -> str:
    """What a glance would see."""
    if appearance.diversity < COLLAPSED_DIVERSITY:
        return ", and they are nearly all the same"
    if appearance.roughness < SMOOTH:
        return f", and they are {appearance.roughness:.2f} times as rough as these: blurred"
    return ""


def _collapsed(found: Findings) -> Verdict | None:
    rows = found.fidelity.per_class
    flat = [name for name in rows if _has_collapsed(found, name)]
    if not flat:
        return None
    classes = "class has" if len(rows) == 1 else "classes have"
    return Verdict(
        Kind.COLLAPSED,
        f"Do not use: {len(flat)} of {len(rows)} {classes} collapsed, their samples are nearly "
        f"all the same ({_named(flat)}).",
    )


def _has_collapsed(found: Findings, name: str) -> bool:
    diversity = found.appearance.diversity_per_class.get(name, 1.0)
    if diversity < COLLAPSED_DIVERSITY:
        return True
    ours = found.fidelity.per_class[name].get("coverage")
    theirs = found.fidelity.held_out_per_class.get(name, {}).get("coverage")
    return _part(ours, theirs) < COLLAPSED_COVERAGE and diversity < 1.0


def _copied(found: Findings) -> Verdict | None:
    copies = found.copies
    if not is_copied(copies):
        return None
    share = copies.share.value or 0.0
    same = f", {copies.identical:,} of them in every pixel" if copies.identical else ""
    return Verdict(
        Kind.COPIES,
        f"Copies: {_percent(share)} of the samples are nearer to a training image than 99 % of "
        f"unseen real images are{same}.",
    )


def is_copied(copies: Copies) -> bool:
    """Whether samples are training images, or nearer to these than to others and than others."""
    interval, nearer = copies.share.interval, copies.nearer_training.interval
    if interval is None or interval.low <= COPIED_SHARE:
        return False
    if copies.identical > COPIED_SHARE * copies.share.synthetic:
        return True
    excess, expected = excess_of(copies), copies.nearer_training_expected
    if excess is None or expected is None or nearer is None:
        return True
    return nearer.low > expected and excess >= EXPLAINED * (copies.share.value or 0.0)


def excess_of(copies: Copies) -> float | None:
    """The part of the samples that must be copies for so many to be nearer to training images.

    With e of honest samples nearer to these, and copies always: share = part + (1 - part) · e.
    """
    share, expected = copies.nearer_training.value, copies.nearer_training_expected
    if share is None or expected is None or expected >= 1:
        return None
    return (share - expected) / (1 - expected)


def _mislabelled(found: Findings) -> Verdict | None:
    ours, theirs = found.agreement.overall.value, found.agreement.on_test.value
    if ours is None or theirs is None or ours >= AGREES * theirs:
        return None
    return Verdict(
        Kind.MISLABELLED,
        f"Wrong labels: the classifier sees the wanted class in {_percent(ours)} of the samples; "
        f"of real images it recognises {_percent(theirs)}.",
    )


def _unlike(found: Findings) -> Verdict | None:
    if _of_held_out(found, "precision") >= UNLIKE:
        return None
    return Verdict(
        Kind.UNLIKE,
        f"Often unlike real images: {_percent(_value(found, 'precision'))} of the samples lie "
        f"among these, where {_percent(_held_out(found, 'precision'))} of unseen real ones do.",
    )


def _narrow(found: Findings) -> Verdict | None:
    if _of_held_out(found, "coverage") >= NARROW:
        return None
    return Verdict(
        Kind.NARROW,
        f"Narrow: samples cover {_percent(_value(found, 'coverage'))} of the real images, where "
        f"unseen real ones cover {_percent(_held_out(found, 'coverage'))}.",
    )


def _fine(found: Findings) -> str:
    parts = [
        f"{_percent(_value(found, 'precision'))} of the samples lie among the real images "
        f"(unseen real ones: {_percent(_held_out(found, 'precision'))})",
        f"they cover {_percent(_value(found, 'coverage'))} of these "
        f"({_percent(_held_out(found, 'coverage'))})",
    ]
    agrees = found.agreement.overall.value
    if agrees is not None:
        parts.append(f"{_percent(agrees)} are what their labels say")
    return f"No fault found: {'; '.join(parts)}."


def _value(found: Findings, name: FigureName) -> float | None:
    return found.fidelity.overall[name].value


def _held_out(found: Findings, name: FigureName) -> float | None:
    figure = found.fidelity.held_out.get(name)
    return None if figure is None else figure.value


def _of_held_out(found: Findings, name: FigureName) -> float:
    return _part(found.fidelity.overall.get(name), found.fidelity.held_out.get(name))


def _part(ours: Figure | None, theirs: Figure | None) -> float:
    """Ours over theirs; 1 where either could not be measured, so that nothing is said."""
    if ours is None or theirs is None or ours.value is None or not theirs.value:
        return 1.0
    return ours.value / theirs.value


def _percent(share: float | None) -> str:
    if share is None:
        return "an unknown part"
    text = f"{100 * share:.1f}" if 0 < share < 0.1 or 0.95 < share < 1 else f"{100 * share:.0f}"
    return f"{text} %"


def _named(names: list[str]) -> str:
    left = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {left} more" if left > 0 else "")
