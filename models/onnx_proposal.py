"""From the facts of an ONNX graph to a spec: what is certain, and candidates for what is not.

The same shape as the proposal for a file of weights: questions with their candidates, the likely
one first, and a spec for every combination of answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from math import isqrt
from typing import Any, Final, NamedTuple

from pydantic import JsonValue, ValidationError

from models.declared.import_spec import RAW_PIXELS, ImportSpec
from models.declared.problems import explain
from models.errors import SpecError
from models.importing.proposal.unknowns import CANDIDATES, Candidate, Unknown
from models.onnx_graph import WHOLE, GraphFacts, OnnxTrial, Port, listed

INPUTS, IMAGE, OUTPUT = "inputs", "image", "output"
LABEL_WORD: Final = re.compile(r"label|class|cond|one_?hot|target|(^|_)[yc]($|_)", re.IGNORECASE)
LATENT_WORD: Final = re.compile(r"latent|noise|(^|_)z($|_|\d)|input", re.IGNORECASE)
CUT_WORD: Final = re.compile(r"psi|trunc", re.IGNORECASE)
USUAL_LATENTS: Final = (100, 128, 64)
USUAL_CLASSES: Final = 10
COLOURS: Final = (1, 3, 4)
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "Tanh": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
}


class _Inputs(NamedTuple):
    """Options that bind the inputs, and the sizes they mean."""

    options: dict[str, JsonValue]
    latent_size: int
    classes: int


class _Image(NamedTuple):
    options: dict[str, JsonValue]
    height: int
    width: int
    channels: int


class OnnxProposal:
    """What a graph says. Raises SpecError when no input can be a latent, or no output an image."""

    def __init__(self, facts: GraphFacts, name: str, family: str, licence: str = "unknown") -> None:
        self._fixed: dict[str, Any] = {"name": name, "family": family, "licence": licence}
        images, output = _images(facts)
        self.unknowns = (
            Unknown(INPUTS, "Which input is the latent, and which the label?", _inputs(facts)),
            Unknown(IMAGE, "Which size and order of axes have the images?", images),
            Unknown(OUTPUT, "Which range has an image?", _ranges(facts, output)),
        )

    @property
    def open(self) -> tuple[Unknown, ...]:
        """The questions that have more than one answer."""
        return tuple(unknown for unknown in self.unknowns if len(unknown.candidates) > 1)

    def spec(self, answers: Mapping[str, int] | None = None) -> ImportSpec:
        """The spec for those answers, question -> number of the candidate; the first elsewhere."""
        inputs, image, value_range = (
            unknown.candidates[(answers or {}).get(unknown.name, 0)].value
            for unknown in self.unknowns
        )
        picture = {"height": image.height, "width": image.width, "channels": image.channels}
        fields = {
            "architecture": "onnx",
            "image": picture,
            "latent_size": inputs.latent_size,
            "classes": inputs.classes,
            "value_range": value_range,
            "options": inputs.options | image.options,
        }
        try:
            return ImportSpec.model_validate(self._fixed | fields)
        except ValidationError as error:
            raise SpecError(f"what the graph says makes no spec: {explain(error)}") from error

    def tries(self, limit: int) -> Iterator[tuple[dict[str, str], ImportSpec]]:
        """The likeliest combinations first: labels of the answers to open questions, and spec."""
        counts = (range(len(unknown.candidates)) for unknown in self.unknowns)
        for numbers in islice(sorted(product(*counts), key=sum), limit):
            answers = dict(zip((u.name for u in self.unknowns), numbers, strict=True))
            labels = {u.name: u.candidates[answers[u.name]].label for u in self.open}
            yield labels, self.spec(answers)


def settled(spec: ImportSpec, trial: OnnxTrial) -> ImportSpec:
    """The spec with the batch that the first runs showed."""
    if trial.batch is None:
        return spec
    return spec.model_copy(update={"options": {**spec.options, "batch": trial.batch}})


def _inputs(facts: GraphFacts) -> tuple[Candidate, ...]:
    found = [
        (score, candidate)
        for latent in filter(_could_be_latent, facts.inputs)
        for label in (None, *filter(_could_be_label, facts.inputs))
        if label != latent
        for score, candidate in _bound(facts, latent, label)
    ]
    if not found:
        raise SpecError(f"no input can be the latent among {listed(facts.inputs)}")
    found.sort(key=lambda item: -item[0])
    best = found[0][0]
    return tuple(candidate for score, candidate in found[:CANDIDATES] if score > best - 3)


def _could_be_latent(port: Port) -> bool:
    return port.is_float and len(port.shape) > 1


def _could_be_label(port: Port) -> bool:
    whole = port.dtype in WHOLE and port.image_size in (None, 1)
    return whole or (len(port.shape) == 2 and (port.image_size or 0) > 1)


def _bound(
    facts: GraphFacts, latent: Port, label: Port | None
) -> Iterator[tuple[float, Candidate]]:
    """One candidate, or one for each usual latent size where the graph leaves it open."""
    others = [port for port in facts.inputs if port not in (latent, label)]
    score = 2.0 * bool(LATENT_WORD.search(latent.name)) + _label_score(label)
    score -= 2.0 * sum(not _is_setting(port) for port in others)
    classes, why = _classes(facts, label)
    options: dict[str, JsonValue] = {"latents": [latent.name]}
    if label is not None:
        options["label"] = label.name
    if others:
        options["fixed"] = {port.name: _value(port) for port in others}
    sizes = (latent.image_size,) if latent.image_size else USUAL_LATENTS
    for place, size in enumerate(sizes):
        words = f"latent {latent.name!r} of {size}, " + (
            "no label" if label is None else f"label {label.name!r} of {classes}"
        )
        fixed = f", fixed: {', '.join(port.name for port in others)}" if others else ""
        yield score - place, Candidate(words + fixed, why, _Inputs(options, size, classes))


def _label_score(label: Port | None) -> float:
    if label is None:
        return 0.0
    return 4.0 * (label.dtype in WHOLE) + 3.0 * bool(LABEL_WORD.search(label.name)) - 1.0


def _is_setting(port: Port) -> bool:
    """A single number for the whole run, such as a truncation."""
    return len(port.shape) == 0 or port.shape == (1,) or bool(CUT_WORD.search(port.name))


def _value(port: Port) -> JsonValue:
    if port.is_float and not _is_setting(port):
        return {"seed": 0}
    return {"value": 1.0 if port.is_float else 0}


def _classes(facts: GraphFacts, label: Port | None) -> tuple[int, str]:
    if label is None:
        return 0, "types, sizes and names of the inputs"
    if label.name in facts.table_rows:
        return facts.table_rows[label.name], "the table behind the label has so many rows"
    if (label.image_size or 0) > 1:
        return label.image_size or 0, "one number for each class"
    return USUAL_CLASSES, "how many classes there are is not in the graph; check"


def _images(facts: GraphFacts) -> tuple[tuple[Candidate, ...], Port]:
    for port in sorted(facts.outputs, key=lambda port: -len(port.shape)):
        choice: dict[str, JsonValue] = {"output": port.name} if len(facts.outputs) > 1 else {}
        candidates = tuple(
            Candidate(
                f"{height} x {width}, {channels} channels, {layout}",
                f"output {port}",
                _Image(choice | {"layout": layout}, height, width, channels),
            )
            for layout, height, width, channels in islice(_pictures(port), CANDIDATES)
        )
        if candidates:
            return candidates, port
    raise SpecError(
        f"no output is an image among {listed(facts.outputs)}; export it with fixed sides"
    )


def _pictures(port: Port) -> Iterable[tuple[str, int, int, int]]:
    match port.image_shape:
        case (int() as a, int() as b, int() as c):
            if a in COLOURS:
                yield "chw", b, c, a
            if c in COLOURS:
                yield "hwc", a, b, c
        case (int() as height, int() as width):
            yield "hw", height, width, 1
        case (int() as size,):
            squares = [(isqrt(size // n), n) for n in COLOURS if size % n == 0]
            for side, n in squares:
                if side > 1 and side * side * n == size:
                    yield "flat_chw", side, side, n
                    if n > 1:
                        yield "flat_hwc", side, side, n


def _ranges(facts: GraphFacts, output: Port) -> tuple[Candidate, ...]:
    if not output.is_float:
        return (Candidate("[0, 255]", "whole numbers are pixels as they are", RAW_PIXELS),)
    operator = facts.last_operators.get(output.name, "")
    if operator in RANGES:
        low, high = RANGES[operator]
        return (Candidate(f"[{low:g}, {high:g}]", f"it ends in {operator}", (low, high)),)
    why = f"the graph ends in {operator or 'no operator'}, which has no range"
    return tuple(
        Candidate(f"[{low:g}, {high:g}]", why, (low, high))
        for low, high in ((-1.0, 1.0), (0.0, 1.0), RAW_PIXELS)
    )
