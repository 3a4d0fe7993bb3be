"""`synthloom models import`: from somebody's file of weights to a model that serves."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.failures import CommandError, ExitCode
from app.cli.sheets import side_by_side
from app.cli.terminal import plain, print_json, print_table, say, stdout
from app.client_types import Inspection, Model, Reading

TRIES = 12


@dataclass(frozen=True)
class Wanted:
    """What the command line says of the model to be."""

    file: Path
    name: str
    version: str | None
    licence: str | None
    answers: dict[str, str]
    accept_degenerate: bool

    def fields(self, **more: str) -> dict[str, str]:
        """The fields of the request."""
        given = {"name": self.name, "version": self.version, "licence": self.licence}
        said = {key: value for key, value in given.items() if value}
        if self.accept_degenerate:
            said["accept_degenerate"] = "true"
        return said | more


def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="State dict, safetensors, ONNX,"
                                         " a model that was exported, or the folder of a"
                                         " training.", exists=True)],
    name: Annotated[str | None, typer.Option(help="What it is called from now on; left out, as"
                                             " its spec says.")] = None,
    spec: Annotated[Path | None, typer.Option(metavar="SPEC.json", help="What the network is.",
                                              exists=True, dir_okay=False)] = None,
    version: Annotated[str | None, typer.Option(help="1.0.0 if left out.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights.")] = None,
    answer: Annotated[list[str] | None, typer.Option(metavar="QUESTION=ANSWER",
                      help="Label or number of a candidate; may be repeated.")] = None,
    try_all: Annotated[bool, typer.Option("--try", help="Draw the likeliest readings side by side;"
                                          " nothing is registered.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Take the likeliest answers.")] = False,
    accept_degenerate: Annotated[bool, typer.Option(help="Register it although what it makes is"
                                                    " not worth serving.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="For the spec and the pictures.")]
    = Path(),
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")] = False,
) -> None:  # fmt: skip
    """Register a checkpoint of your own: looked into safely, tried, and refused with the reason."""
    given = _answers(answer or [])
    where = Whereabouts(server, data, api_key)
    with _as_file(file) as source:
        wanted = Wanted(source, name or "", version, licence, given, accept_degenerate)
        _import(wanted, where, spec, try_all, yes, out, as_json)


def _import(
    wanted: Wanted, where: Whereabouts, spec: Path | None, try_all: bool, yes: bool, out: Path,
    as_json: bool,
) -> None:  # fmt: skip
    from app.imports.package import is_package  # much to load, and only here

    exported = is_package(wanted.file)
    _check_options(wanted, exported, spec, try_all)
    with connected(where) as client:
        if exported:
            _shown(client.import_model(wanted.file, **wanted.fields()), as_json)
            return
        if spec is not None:
            fields = wanted.fields(spec=_named(spec, wanted))
            _shown(client.import_model(wanted.file, **fields), as_json)
            return
        found = client.inspect_model(
            wanted.file, **wanted.fields(tries=str(TRIES if try_all else 1))
        )
        if try_all:
            _show_tries(found, wanted, out)
            return
        answers = _complete(found, wanted, yes)
        if answers is None:
            _ask(found, wanted, out)
            raise CommandError(_how_to_go_on(found, wanted, out), ExitCode.USAGE)
        fields = wanted.fields(answers=json.dumps(answers))
        _shown(client.import_model(wanted.file, **fields), as_json)


@contextmanager
def _as_file(path: Path) -> Iterator[Path]:
    """The file itself, or the folder of a checkpoint as one file for the time being."""
    if not path.is_dir():
        yield path
        return
    from app.imports.package import pack_folder

    with TemporaryDirectory(prefix="synthloom-") as folder:
        package = Path(folder) / f"{path.resolve().name}.zip"
        pack_folder(path, package)
        yield package


def _check_options(wanted: Wanted, exported: bool, spec: Path | None, try_all: bool) -> None:
    if exported and (spec or wanted.answers or try_all):
        raise CommandError(
            "An exported model has its spec in it: leave --spec, --answer and --try.",
            ExitCode.USAGE,
        )
    if not (exported or spec or wanted.name):
        raise CommandError("Give the model a name: --name NAME.", ExitCode.USAGE)


def _answers(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wrong = next((text for text, (_, sign, _) in zip(given, pairs, strict=True) if not sign), None)
    if wrong is not None:
        raise CommandError(f"{wrong!r} is no answer; write QUESTION=ANSWER.", ExitCode.USAGE)
    return {question.strip(): value.strip() for question, _, value in pairs}


def _named(spec: Path, wanted: Wanted) -> str:
    """The spec of the file under the name, version and licence of the command line."""
    try:
        document: Any = json.loads(spec.read_text())
    except ValueError as error:
        raise CommandError(f"{spec} is no JSON: {error}.", ExitCode.USAGE) from error
    if not isinstance(document, dict):
        raise CommandError(f"{spec} is no JSON object.", ExitCode.USAGE)
    said = {"name": wanted.name, "version": wanted.version, "licence": wanted.licence}
    return json.dumps(document | {key: value for key, value in said.items() if value})


def _complete(found: Inspection, wanted: Wanted, yes: bool) -> dict[str, str] | None:
    """An answer to each question; none when one is missing, or no spec could be guessed."""
    if found.spec is None:
        return None
    open_now = [unknown for unknown in found.unknowns if unknown.name not in wanted.answers]
    if open_now and not yes:
        return None
    return wanted.answers | {u.name: u.candidates[0].label for u in open_now}


def _ask(found: Inspection, wanted: Wanted, out: Path) -> None:
    for fact in found.facts:
        say(fact if fact.endswith(".") else f"{fact}.")
    rows = [
        (unknown.name if not number else "", number + 1, candidate.label, candidate.why)
        for unknown in found.unknowns
        for number, candidate in enumerate(unknown.candidates)
    ]
    if rows:
        print_table(("question", "", "answer", "why"), rows)
    out.mkdir(parents=True, exist_ok=True)
    if found.spec is not None:
        _spec_file(wanted, out).write_text(json.dumps(found.spec, indent=2) + "\n")
    if found.tries and found.tries[0].preview:
        _write_picture(out / f"{wanted.name}.png", base64.b64decode(found.tries[0].preview))
    for reading in found.tries[:1]:
        for finding in reading.findings:
            say(f"{finding['code']}: {finding['detail']}")


def _how_to_go_on(found: Inspection, wanted: Wanted, out: Path) -> str:
    again = f"synthloom models import {shlex.quote(str(wanted.file))} --name {wanted.name}"
    if found.spec is None:
        return (
            f"Write a spec for it (docs/declared.md, docs/onnx.md), then: {again} --spec SPEC.json"
        )
    sheet = out / f"{wanted.name}.png"
    questions = " ".join(f"--answer {u.name}=1" for u in found.unknowns)
    return (
        f"Nothing is registered yet: weights do not say everything. Look at {sheet}. If it is "
        f"right: {again} --yes. To compare the other readings: {again} --try. Or answer: {again} "
        f"{questions}. Or edit {_spec_file(wanted, out)}: {again} --spec {_spec_file(wanted, out)}"
    )


def _show_tries(found: Inspection, wanted: Wanted, out: Path) -> None:
    if not found.tries:
        raise CommandError(_how_to_go_on(found, wanted, out), ExitCode.USAGE)
    out.mkdir(parents=True, exist_ok=True)
    rows, pictures = [], []
    for number, reading in enumerate(found.tries, 1):
        rows.append((number, _differs(reading, found.tries[0]), _verdict(reading)))
        spec = out / f"{wanted.name}-{number}.json"
        spec.write_text(json.dumps(reading.spec, indent=2) + "\n")
        if reading.preview:
            pictures.append((str(number), base64.b64decode(reading.preview)))
    print_table(("", "reading", "verdict"), rows)
    _write_picture(out / f"{wanted.name}-tries.png", side_by_side(pictures))
    again = f"synthloom models import {shlex.quote(str(wanted.file))} --name {wanted.name}"
    say(f"Take one: {again} --spec {out / f'{wanted.name}-1.json'}")


def _differs(reading: Reading, first: Reading) -> str:
    said = [f"{name}: {label}" for name, label in reading.answers.items()
            if reading is first or first.answers.get(name) != label]  # fmt: skip
    return "; ".join(said) or "the only one"


def _verdict(reading: Reading) -> str:
    return ", ".join(finding["code"] for finding in reading.findings) or "runs"


def _write_picture(path: Path, png: bytes) -> None:
    path.write_bytes(png)
    stdout().print(plain(f"The contact sheet is {path}."), soft_wrap=True)


def _spec_file(wanted: Wanted, out: Path) -> Path:
    return out / f"{wanted.name}.json"


def _shown(model: Model, as_json: bool) -> None:
    if as_json:
        print_json(model.model_dump(mode="json"))
        return
    for warning in model.warnings:
        say(f"Warning: {warning}")
    stdout().print(
        plain(f"{model.reference} is registered: synthloom generate {model.name} …"), soft_wrap=True
    )
