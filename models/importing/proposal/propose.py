"""The proposal: one spec that is most likely, and the others that the same weights allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from pydantic import JsonValue, ValidationError

from models.declared.document import parse_options
from models.declared.folding import Found
from models.declared.import_spec import ImportSpec
from models.declared.mapping import match_tensors
from models.declared.walk import trace
from models.errors import ModelError
from models.importing.proposal.assembly import Assembly
from models.importing.proposal.blocks import Block, Order, Sort, blocks_of
from models.importing.proposal.chain import Chain, NoProposalError, follow
from models.importing.proposal.recipes import unknowns_of
from models.importing.proposal.selection import Selection, select
from models.importing.proposal.unknowns import (
    Inputs,
    Picture,
    Unknown,
    input_candidates,
    picture_candidates,
)
from models.importing.report import Report

TRIES: Final = 12
INPUTS, IMAGE = "inputs", "image"
PRICES: Final = {INPUTS: 1.0, "activation": 1.0, "eps": 1.5, IMAGE: 2.0, "output": 2.0}
"""How unlikely it is that the first answer to a question is wrong."""


class Try(NamedTuple):
    """One combination of answers: question → label, and the spec that they make."""

    answers: dict[str, str]
    spec: ImportSpec


class Proposal:
    """What a file's tensors say. `facts` are certain; `unknowns` are what was guessed.

    settled: questions that the weights have answered after all (`evidence.settle`).

    Every spec that it gives passes the strict match of shapes, so a wrong answer shows in the
    images only.
    """

    def __init__(self, report: Report, name: str, licence: str, order: Order) -> None:
        self._report = report
        self._fixed = {"name": name, "licence": licence}
        rows = [(row.name, row.shape) for row in report.tensors]
        self._selection = select(blocks_of(rows, order))
        kept = self._selection.kept
        tables = [block for block in kept if block.sort is Sort.EMBEDDING]
        self._chain = follow([block for block in kept if block.sort is not Sort.EMBEDDING])
        self.unknowns = tuple(self._ask(tables))
        self.facts = tuple(_facts(self._selection, self._chain))
        self.settled: frozenset[str] = frozenset()
        self._check(self.spec())

    def _ask(self, tables: Sequence[Block]) -> Iterator[Unknown]:
        scalars = self._report.scalars
        inputs = input_candidates(self._chain.width, tables, self._selection, scalars)
        yield Unknown(INPUTS, "What goes in, and in which order?", inputs)
        pictures = picture_candidates(self._chain, scalars)
        yield Unknown(IMAGE, "Which size have the images, by which strides?", pictures)
        yield from unknowns_of(self._chain, self._selection.family)

    def prefer(self, answers: Mapping[str, int], settled: Iterable[str]) -> None:
        """Put those candidates first; `settled` are questions that need no person any more."""
        self.unknowns = tuple(_moved_up(each, answers.get(each.name, 0)) for each in self.unknowns)
        self.settled = frozenset(settled)

    @property
    def open(self) -> tuple[Unknown, ...]:
        """The questions that have more than one answer."""
        return tuple(unknown for unknown in self.unknowns if len(unknown.candidates) > 1)

    def spec(self, answers: Mapping[str, int] | None = None) -> ImportSpec:
        """The spec for those answers, question → number of the candidate; the first elsewhere."""
        chosen = {
            unknown.name: unknown.candidates[(answers or {}).get(unknown.name, 0)].value
            for unknown in self.unknowns
        }
        inputs: Inputs = chosen[INPUTS]
        picture: Picture = chosen[IMAGE]
        assembly = Assembly(self._chain, picture.plan, chosen)
        layers, names = assembly.layers, assembly.names
        options: dict[str, JsonValue] = {"inputs": inputs.inputs, "layers": layers}
        if inputs.merge != "concat":
            options["merge"] = inputs.merge
        if inputs.conditions:
            options["conditions"] = inputs.conditions
        if picture.plan is None:
            options["output"] = "flat_chw"
        try:
            return ImportSpec.model_validate(
                self._fixed
                | {
                    "family": self._selection.family,
                    "image": {
                        "height": picture.height,
                        "width": picture.width,
                        "channels": picture.channels,
                    },
                    "latent_size": inputs.latent_size,
                    "classes": inputs.classes,
                    "value_range": chosen["output"][1],
                    "options": options,
                    "tensors": self._rules(inputs.names | names),
                }
            )
        except ValidationError as error:
            raise NoProposalError("what its shapes say makes no spec") from error

    def _rules(self, names: dict[str, str]) -> dict[str, Any]:
        rules: dict[str, Any] = {"names": names, "order": "none"}
        if self._report.path:
            rules["state"] = self._report.path
        ignored = [f"{block.name}.*" for block in self._selection.ignored]
        return rules | ({"ignore": ignored} if ignored else {})

    def _check(self, spec: ImportSpec) -> None:
        """Shapes and names agree with the file, tensor by tensor."""
        options = parse_options(spec.options)
        wanted = trace(options, spec.image, spec.latent_size, len(spec.classes)).tensors
        found = {row.name: Found(row.dtype, row.shape) for row in self._report.tensors}
        match_tensors(wanted, found, spec.tensors)

    def tries(self, limit: int = TRIES) -> Iterator[Try]:
        """The likeliest combinations first: few answers other than the first."""
        counts = [range(len(unknown.candidates)) for unknown in self.unknowns]
        prices = [PRICES.get(unknown.name, 1.0) for unknown in self.unknowns]
        ranked = sorted(
            product(*counts),
            key=lambda at: sum(n * price for n, price in zip(at, prices, strict=True)),
        )
        given = 0
        for numbers in ranked:
            answers = dict(zip((u.name for u in self.unknowns), numbers, strict=True))
            try:
                spec = self.spec(answers)
                self._check(spec)
            except ModelError:
                continue
            yield Try(self._labels(answers), spec)
            given += 1
            if given == limit:
                return

    def document(self) -> dict[str, JsonValue]:
        """All of it as JSON: facts, questions with their candidates, and the likeliest spec."""
        return {
            "facts": list(self.facts),
            "questions": [
                {
                    "name": unknown.name,
                    "question": unknown.question,
                    "settled": unknown.name in self.settled,
                    "candidates": [{"label": c.label, "why": c.why} for c in unknown.candidates],
                }
                for unknown in self.open
            ],
            "spec": self.spec().model_dump(mode="json", exclude_defaults=True),
        }

    def _labels(self, answers: Mapping[str, int]) -> dict[str, str]:
        return {u.name: u.candidates[answers[u.name]].label for u in self.open}


SORTED: Final[tuple[Order, ...]] = ("natural", "plain")


def propose(report: Report, name: str, licence: str = "unknown") -> Proposal:
    """What the tensors of `report` are, as specs; NoProposalError says where it got lost.

    The order of a state dict is mostly that of the layers; safetensors are sorted, so that their
    names have to tell it.
    """
    first: ModelError | None = None
    orders: tuple[Order, ...] = SORTED if report.format == "safetensors" else ("file", *SORTED)
    for order in orders:
        try:
            return Proposal(report, name, licence, order)
        except ModelError as error:
            first = first or error
    raise NoProposalError(str(first)) from first


def _moved_up(unknown: Unknown, number: int) -> Unknown:
    kept = [c for place, c in enumerate(unknown.candidates) if place != number]
    return unknown._replace(candidates=(unknown.candidates[number], *kept))


def _facts(selection: Selection, chain: Chain) -> Iterator[str]:
    yield from selection.facts
    if selection.ignored:
        names = ", ".join(block.name for block in selection.ignored[:6])
        more = len(selection.ignored) - 6
        yield f"left out: {names}" + (f" and {more} more" if more > 0 else "")
    for step in chain.steps:
        if step.block is not None:
            yield f"{step.block.name}: {step.word} {list(step.block.weight)}"
        elif step.word == "reshape":
            yield f"reshape to {list(step.shape)}"
