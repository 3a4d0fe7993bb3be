"""A lift as a Markdown table, for terminals and pages. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from models.evaluation.lift_result import Arm, Interval, LiftResult, Mean


def markdown(found: LiftResult) -> str:
    """The advice, a row for each arm, and what a reader must know of it."""
    return "\n".join((found.advice.sentence, "", *_rows(found), "", *_below(found)))


def _rows(found: LiftResult) -> Iterator[str]:
    names = found.classes
    heads = (
        "learnt from", "real", "synthetic", "balanced accuracy", "difference, points",
        *(f"recall of {name}" for name in names), "on validation",
    )  # fmt: skip
    yield _line(heads)
    yield _line(["---", *["---:"] * (len(heads) - 1)])
    for arm in (*found.arms, *filter(None, [found.train_on_synthetic])):
        yield _line((
            _name(arm, found), f"{arm.real_images:,}", f"{arm.synthetic_images:,}",
            _mean(arm.balanced_accuracy), _difference(arm),
            *(_mean(arm.recall[name]) if name in arm.recall else "" for name in names),
            f"{100 * arm.validation:.1f}",
        ))  # fmt: skip


def _below(found: LiftResult) -> Iterator[str]:
    yield (
        f"{len(found.seeds)} seeds, {found.steps:,} steps of {found.batch_size} images each; "
        f"{found.classifier}. Means with {found.confidence:.0%} intervals over the seeds; those of "
        f"differences take seeds and test images together. {found.held_out}"
    )
    yield from found.notes
    yield from (f"Not measured: {one.name}, as {one.reason}." for one in found.skipped)


def _name(arm: Arm, found: LiftResult) -> str:
    if arm.name == found.reference:
        return f"{arm.name} (reference)"
    return f"**{arm.name}**" if arm.name == found.advice.arm else arm.name


def _mean(mean: Mean) -> str:
    return f"{100 * mean.value:.1f}{_ends(mean.interval)}"


def _difference(arm: Arm) -> str:
    found = arm.difference
    return "" if found is None else f"{100 * found.value:+.1f}{_ends(found.interval, '+')}"


def _ends(ends: Interval | None, sign: str = "") -> str:
    if ends is None:
        return ""
    return f" ({100 * ends.low:{sign}.1f} to {100 * ends.high:{sign}.1f})"


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"
