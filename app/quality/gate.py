"""Gates: conditions on the figures of a report. Pure.

{"label_agreement": 0.95, "lift": 0.0}       at least; of a figure that is better the lower
                                             it is, at most
{"kid": "<=0.05", "near_duplicates": "<2%"}  with a comparison
["kid<=0.05", "label_agreement/*>=0.9"]      the same as expressions; /bag is the figure of
                                             one class, /* that of every class
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from app.errors import UnknownFigureError, ValidationError
from app.quality.known_figures import KNOWN
from models.spec import Frozen

Comparison = Literal[">=", "<=", ">", "<"]
AskedGate = Mapping[str, float | str] | Sequence[str]
"""A gate as a request writes it."""

MAX_CONDITIONS = 50
MAX_LENGTH = 400
EVERY_CLASS = "*"

_COMPARE: Mapping[Comparison, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt
}  # fmt: skip
_FIGURE = re.compile(r"\s*([A-Za-z_]+)\s*(?:/(.*))?", re.DOTALL)
_BOUND = re.compile(r"\s*(>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%?)\s*")
_BOUND_OF_EXPRESSION = re.compile(r"[<>]=?[^<>]*$")


class Measurement(Protocol):
    """A figure, as far as a gate looks at it."""

    @property
    def value(self) -> float | None:
        """None where it was not measured."""

    @property
    def reason(self) -> str | None:
        """Why it was not measured."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of a figure; `of_class` "*" means of every class."""

    figure: str
    comparison: Comparison
    threshold: float
    of_class: str | None = None

    @property
    def name(self) -> str:
        """`figure`, or `figure/class`."""
        return self.figure if self.of_class is None else f"{self.figure}/{self.of_class}"

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.threshold!r}"


class Outcome(Frozen):
    """One condition, and what came of it.

    condition: as an expression. figure: its name, with its class if it has one.
    value: of several classes the one that is farthest from the threshold.
    reason: why it does not hold, where the value alone does not say so.
    """

    condition: str
    figure: str
    comparison: Comparison
    threshold: float
    value: float | None = None
    holds: bool
    reason: str | None = None


class GateOutcome(Frozen):
    """A gate, and whether the dataset passes it: only when every condition holds."""

    passed: bool
    sentence: str
    conditions: tuple[Outcome, ...]


def read_gate(asked: AskedGate) -> tuple[Condition, ...]:
    """The conditions of a gate as it was asked for.

    Raises UnknownFigureError; ValidationError for one that can't be read or that asks a figure
    to be bad.
    """
    if len(asked) > MAX_CONDITIONS:
        raise ValidationError(f"A gate has at most {MAX_CONDITIONS} conditions.")
    if isinstance(asked, Mapping):
        return tuple(_of_entry(figure, bound) for figure, bound in asked.items())
    return tuple(read_condition(text) for text in asked)


def read_condition(text: str) -> Condition:
    """The condition of an expression such as `kid<=0.05`; errors as of `read_gate`."""
    bound = _BOUND_OF_EXPRESSION.search(text) if len(text) <= MAX_LENGTH else None
    if bound is None:
        raise _unreadable(text)
    return _condition(text[: bound.start()], bound.group(), text)


def _of_entry(figure: str, bound: float | str) -> Condition:
    if isinstance(bound, str):
        return _condition(figure, bound, f"{figure}: {bound}")
    name, of_class = _figure(figure, figure)
    comparison: Comparison = ">=" if KNOWN[name].better == "higher" else "<="
    return Condition(name, comparison, float(bound), of_class)


def _condition(figure: str, bound: str, text: str) -> Condition:
    read = _BOUND.fullmatch(bound) if len(bound) <= MAX_LENGTH else None
    if read is None:
        raise _unreadable(text)
    name, of_class = _figure(figure, text)
    comparison = cast("Comparison", read.group(1))
    upward = KNOWN[name].better == "higher"
    if upward != comparison.startswith(">"):
        side, sign = ("higher", ">=") if upward else ("lower", "<=")
        raise ValidationError(
            f"{name} is better the {side} it is, and a gate says what must hold: write "
            f'"{name}{sign}…" instead of {text[:100]!a}.'
        )
    threshold = float(read.group(2)) / (100 if read.group(3) else 1)
    return Condition(name, comparison, threshold, of_class)


def _figure(text: str, whole: str) -> tuple[str, str | None]:
    """Name and class of `name` or `name/class`."""
    read = _FIGURE.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if read is None:
        raise _unreadable(whole)
    name, of_class = read.group(1), read.group(2)
    if name not in KNOWN:
        raise UnknownFigureError(
            f"There is no figure {name[:60]!a}. A gate can ask for: {', '.join(KNOWN)}.",
            known_figures=list(KNOWN),
        )
    if of_class is not None and not KNOWN[name].by_class:
        raise ValidationError(f"{name} is a figure of the whole dataset; leave the class out.")
    return name, of_class


def _unreadable(text: str) -> ValidationError:
    return ValidationError(
        f'The gate {text[:100]!a} can\'t be read; write it like "label_agreement>=0.95" or '
        '"kid<=0.05".'
    )


def judge(
    conditions: Sequence[Condition], figures: Mapping[str, Measurement]
) -> GateOutcome | None:
    """What came of a gate; None of one without conditions. An absent figure does not pass."""
    if not conditions:
        return None
    outcomes = tuple(_outcome(condition, figures) for condition in conditions)
    passed = all(outcome.holds for outcome in outcomes)
    return GateOutcome(passed=passed, sentence=_sentence(outcomes), conditions=outcomes)


def _outcome(condition: Condition, figures: Mapping[str, Measurement]) -> Outcome:
    every = condition.of_class == EVERY_CLASS
    meant = {
        name: figure
        for name, figure in figures.items()
        if (name.startswith(f"{condition.figure}/") if every else name == condition.name)
    }
    value, reason = _judged(condition, meant)
    return Outcome(
        condition=str(condition),
        figure=condition.name,
        comparison=condition.comparison,
        threshold=condition.threshold,
        value=value,
        holds=value is not None and _COMPARE[condition.comparison](value, condition.threshold),
        reason=reason,
    )


def _judged(
    condition: Condition, meant: Mapping[str, Measurement]
) -> tuple[float | None, str | None]:
    """The value to compare, of several the worst; and what is to be said of it."""
    if not meant:
        return None, f"the report has no {condition.name}"
    values: dict[str, float] = {}
    for name, figure in meant.items():
        if figure.value is None:
            return None, f"{name} was not measured: {figure.reason}"
        values[name] = figure.value
    worst = (min if KNOWN[condition.figure].better == "higher" else max)(
        values, key=values.__getitem__
    )
    return values[worst], f"the worst is {worst}" if condition.of_class == EVERY_CLASS else None


def _sentence(outcomes: Sequence[Outcome]) -> str:
    failed = [outcome for outcome in outcomes if not outcome.holds]
    if not failed:
        return f"The gate is passed: {', '.join(outcome.condition for outcome in outcomes)}."
    return f"The gate is not passed: {'; '.join(map(_why, failed))}."


def _why(outcome: Outcome) -> str:
    if outcome.value is None:
        return f"{outcome.condition}, but {outcome.reason}"
    more = f" ({outcome.reason})" if outcome.reason else ""
    return f"{outcome.condition}, but it is {outcome.value:.4g}{more}"
