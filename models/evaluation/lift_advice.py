"""From the arms of a lift to what to do. The rule is conservative and fixed beforehand. No torch.

The ratio is chosen by the validation images and tested once, on the test images; so trying many
ratios makes no false finding more likely, and no correction is needed. The differences of the
other arms are shown, not tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.evaluation.lift_result import Advice, Arm, Counts, Difference

RULE: Final = (
    "The arm with synthetic images that is best on the validation images is compared once with "
    "the reference on the test images. It is recommended if the whole interval of the difference "
    "lies above 0 and no arm without synthetic images has a higher mean."
)


def advise(
    arms: Sequence[Arm], candidates: Sequence[str], reference: str, counts: Counts, level: float
) -> Advice:
    """What to do, by the names of the arms that may be recommended."""
    eligible = [arm for arm in arms if arm.name in candidates]
    if not eligible:
        return Advice(use=False, sentence=_none(reference), rule=RULE)
    # Of equals the one with the fewest synthetic images.
    chosen = max(eligible, key=lambda arm: (arm.validation, -arm.synthetic_images))
    assert chosen.difference is not None
    plain = [arm for arm in arms if arm.synthetic == "none"]
    rival = max(plain, key=lambda arm: arm.balanced_accuracy.value)
    sure = chosen.difference.interval.low > 0
    beaten = rival.balanced_accuracy.value >= chosen.balanced_accuracy.value
    figures = _figures(chosen.difference, len(chosen.scores), counts.test, level)
    if sure and not beaten:
        sentence = f"Yes: {_what(chosen)} changes balanced accuracy by {figures}."
    elif sure:
        sentence = (
            f"Don't: {_what(chosen)} changes balanced accuracy by {figures}, but {rival.name} "
            f"reaches as much without synthetic images ({rival.balanced_accuracy.value:.1%})."
        )
    else:
        which = "a loss" if chosen.difference.interval.high < 0 else "no gain"
        sentence = (
            f"Don't: {_what(chosen)}, the best on the validation images, changes balanced "
            f"accuracy by {figures}: {which} that stands out from chance."
        )
    return Advice(
        use=sure and not beaten,
        arm=chosen.name,
        ratio=chosen.ratio,
        balance=chosen.synthetic == "balance",
        sentence=sentence,
        rule=RULE,
    )


def _none(reference: str) -> str:
    return (
        f"Don't: no arm with synthetic images could be compared with {reference}; see what was "
        "skipped and why."
    )


def _what(arm: Arm) -> str:
    if arm.ratio is None:
        return f"filling the short classes with {arm.synthetic_images:,} synthetic images"
    return f"adding {arm.ratio:g} synthetic images for each real one"


def _figures(found: Difference, seeds: int, images: int, level: float) -> str:
    low, high = found.interval.low * 100, found.interval.high * 100
    return (
        f"{found.value * 100:+.1f} points against {found.reference} ({level:.0%} interval "
        f"{low:+.1f} to {high:+.1f}, {seeds} seeds, {images:,} test images)"
    )
