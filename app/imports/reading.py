"""What is in an uploaded file, in the words of the service's own errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from app import errors
from models.declared.import_spec import ImportSpec, read_import_spec
from models.errors import ModelError, SpecError, TensorMatchError
from models.importing.assemble import Assembled, assemble
from models.importing.errors import UnsupportedCheckpointError
from models.importing.formats import Format, identify
from models.importing.onnx_file import inspect_onnx
from models.importing.proposal.chain import NoProposalError
from models.importing.proposal.propose import Proposal, propose
from models.importing.sandbox import convert
from models.onnx_proposal import OnnxProposal

UNKNOWN_LICENCE = "unknown"


@contextmanager
def refusals() -> Iterator[None]:
    """Errors of `models` as errors of the service."""
    try:
        yield
    except UnsupportedCheckpointError as error:
        raise errors.UnsupportedCheckpointError(_sentence(error), kind=error.kind.value) from error
    except TensorMatchError as error:
        shown = list(error.differences[: error.NAMED])
        raise errors.ModelSpecError(_sentence(error), differences=shown) from error
    except ModelError as error:
        raise errors.ModelSpecError(_sentence(error)) from error


def parsed_spec(content: bytes) -> ImportSpec:
    """The import spec of a request."""
    with refusals():
        return read_import_spec(content)


def is_onnx(path: Path) -> bool:
    """Whether the file is an ONNX graph. Raises UnsupportedCheckpointError for no checkpoint."""
    with refusals(), path.open("rb") as stream:
        return identify(stream, path.stat().st_size) is Format.ONNX


class Look(NamedTuple):
    """What a file is, and what that says of the network."""

    format: str
    tensors: list[dict[str, Any]]
    """Tensors of the file; inputs and outputs of an ONNX graph."""
    proposal: Proposal | OnnxProposal | None
    """None where nothing could be guessed; `facts` say why."""
    facts: tuple[str, ...]


def look_into(path: Path, workdir: Path, name: str, licence: str) -> Look:
    """Read a file in the sandbox; nothing stays in `workdir`."""
    return (_graph if is_onnx(path) else _tensors)(path, workdir, name, licence)


def _tensors(path: Path, workdir: Path, name: str, licence: str) -> Look:
    with refusals():
        converted = convert(path, workdir)
    converted.weights.unlink()
    report = converted.report
    rows = [row.model_dump(mode="json") for row in report.tensors]
    try:
        proposal = propose(report, name, licence)
    except NoProposalError as error:
        return Look(report.format, rows, None, (str(error),))
    return Look(report.format, rows, proposal, proposal.facts)


def _graph(path: Path, workdir: Path, name: str, licence: str) -> Look:
    with refusals():
        facts = inspect_onnx(path, workdir)
    groups = (("input", facts.inputs), ("output", facts.outputs))
    rows = [
        port.model_dump(mode="json") | {"role": role} for role, ports in groups for port in ports
    ]
    said = tuple(f"{row['role']} {row['name']}: {row['dtype']} {row['shape']}" for row in rows)
    try:
        return Look("onnx", rows, OnnxProposal(facts, name, "gan", licence), said)
    except SpecError as error:
        return Look("onnx", rows, None, (*said, str(error)))


def answered(look: Look, answers: dict[str, str]) -> ImportSpec:
    """The spec for answers by label or by number, 1 the first.

    Raises ModelSpecError for an answer that is none, ModelSpecNeededError when one is missing.
    """
    proposal = look.proposal
    if proposal is None:
        raise errors.ModelSpecNeededError(
            f"No network could be guessed: {'; '.join(look.facts)}. Describe it in a spec."
        )
    chosen: dict[str, int] = {}
    for unknown in proposal.unknowns:
        if unknown.name in answers:
            labels = [candidate.label for candidate in unknown.candidates]
            chosen[unknown.name] = _number(unknown.name, answers[unknown.name], labels)
    strange = sorted(answers.keys() - {unknown.name for unknown in proposal.unknowns})
    if strange:
        raise errors.ModelSpecError(f"There is no question {strange[0]!a} about this file.")
    left = [unknown.name for unknown in proposal.open if unknown.name not in chosen]
    if left:
        raise errors.ModelSpecNeededError(
            f"The weights do not say everything; open is: {', '.join(left)}. Answer each, or send "
            "a spec.",
            proposal=described(look),
        )
    with refusals():
        return proposal.spec(chosen)


def described(look: Look) -> dict[str, Any]:
    """Facts, open questions and the likeliest spec, as JSON."""
    proposal = look.proposal
    if proposal is None:
        return {"facts": list(look.facts), "unknowns": [], "spec": None}
    questions = [
        {
            "name": unknown.name,
            "question": unknown.question,
            "candidates": [{"label": each.label, "why": each.why} for each in unknown.candidates],
        }
        for unknown in proposal.open
    ]
    spec = proposal.spec().model_dump(mode="json", exclude_defaults=True)
    return {"facts": list(look.facts), "unknowns": questions, "spec": spec}


def checkpoint_of(path: Path, spec: ImportSpec, workdir: Path) -> Assembled:
    """The file as a checkpoint of ours, in `workdir`."""
    with refusals():
        return assemble(path, spec, workdir)


def _number(question: str, answer: str, labels: list[str]) -> int:
    if answer in labels:
        return labels.index(answer)
    if answer.isdecimal() and 1 <= int(answer) <= len(labels):
        return int(answer) - 1
    numbered = "; ".join(f"{number} = {label}" for number, label in enumerate(labels, 1))
    raise errors.ModelSpecError(f"{answer[:80]!a} is no answer to {question}: {numbered}.")


def _sentence(error: ModelError) -> str:
    text = str(error)
    kind = "The spec: " if isinstance(error, SpecError) else ""
    return f"{kind}{text[:1].upper() if not kind else text[:1]}{text[1:]}."
