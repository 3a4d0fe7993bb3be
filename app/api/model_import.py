"""`POST /v1/models`: bring your own checkpoint."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from anyio import from_thread, to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app import catalogue
from app.api.models import ModelDetail, detail_of
from app.api.services import Provided, Services, Tenant
from app.api.uploads import Upload, multipart, received
from app.errors import SynthloomError, ValidationError
from app.imports import package, reading
from app.imports.trying import Try, check, tried
from models.declared.import_spec import ImportSpec
from models.importing.assemble import Assembled
from models.spec import NAME_PATTERN

router = APIRouter(prefix="/v1/models", tags=["models"])

FILE = "weights"
MOST_TRIES = 12
SHOWN_TENSORS = 200
_TRUE = ("true", "1", "yes", "on")
_OF_A_SPEC = ("name", "version", "licence")


class Answered(BaseModel):
    """One way to read a file, and what it draws."""

    answers: dict[str, str]
    spec: dict[str, Any]
    findings: list[dict[str, str]]
    preview: str | None
    """PNG in base64; none where it can't be run."""


class Inspection(BaseModel):
    """What a file is. Nothing of it is kept."""

    format: str
    tensors: list[dict[str, Any]]
    facts: list[str]
    unknowns: list[dict[str, Any]]
    spec: dict[str, Any] | None
    tries: list[Answered]


IMPORT_FORM = multipart(
    FILE,
    spec="the import spec (JSON); left out, one is proposed from the tensors",
    name="of the model, where the spec is left out; another one for an exported model",
    version="1.0.0 if left out, where the spec is left out; another one for an exported model",
    licence="of the weights, where the spec is left out; another one for an exported model",
    answers="JSON: question → label or number of the candidate",
    accept_degenerate="true: register it although its images are not worth serving",
)
INSPECT_FORM = multipart(
    FILE,
    name="of the model to be",
    licence="of the weights",
    tries=f"how many ways to read it are drawn, 0 to {MOST_TRIES}",
)


@router.post(
    "",
    status_code=201,
    response_model=ModelDetail,
    responses={200: {"description": "This content is registered already"}},
    openapi_extra=IMPORT_FORM,
)
async def import_model(
    services: Provided, tenant: Tenant, request: Request, response: Response
) -> ModelDetail:
    """Register a checkpoint: a state dict (.pt, .pth), safetensors, ONNX, or an exported model.

    It is read in a sandbox, tried on a worker, and refused with the reason where it does not do
    what the spec says. A refused upload leaves nothing behind.
    """
    async with received(
        request, services.settings.data_dir, FILE, services.settings.max_upload_bytes
    ) as upload:
        detail, is_new = await to_thread.run_sync(partial(_import, services, tenant, upload))
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = detail.links.self
    return detail


@router.post("/inspect", response_model=Inspection, openapi_extra=INSPECT_FORM)
async def inspect_model(services: Provided, tenant: Tenant, request: Request) -> Inspection:
    """What a file holds, what can be told from it, and which questions are open."""
    async with received(
        request, services.settings.data_dir, FILE, services.settings.max_upload_bytes
    ) as upload:
        return await to_thread.run_sync(partial(_inspect, services, upload))


def _import(services: Services, tenant: str, upload: Upload) -> tuple[ModelDetail, bool]:
    made = _made(upload)
    with services.transaction() as session:
        known = catalogue.by_content(session, tenant, made.spec.sha256)
        if known is not None:
            return detail_of(session, known), False
        catalogue.refuse_other_content(session, tenant, made.spec)
    trial = tried(services.storage, _ask(services), made)
    check(trial.report, upload.fields.get("accept_degenerate", "").lower() in _TRUE)
    preview = upload.folder / "preview.png"
    preview.write_bytes(trial.preview)
    with services.transaction() as session:
        row = catalogue.register(
            session,
            services.storage,
            tenant,
            made.spec,
            made.weights,
            preview,
            trial.report.model_dump(mode="json"),
        )
        return detail_of(session, row), True


def _made(upload: Upload) -> Assembled:
    """The checkpoint of a request: an exported model as it is, or what the spec makes of a file."""
    if not package.is_package(upload.file):
        return reading.checkpoint_of(upload.file, _spec_of(upload), upload.folder)
    if upload.fields.get("spec", "").strip() or _answers(upload):
        raise ValidationError("An exported model has its spec in it: leave `spec` and `answers`.")
    changes = {name: upload.fields[name].strip() for name in _OF_A_SPEC if upload.fields.get(name)}
    return package.unpacked(upload.file, upload.folder, changes)


def _spec_of(upload: Upload) -> ImportSpec:
    if stated := upload.fields.get("spec", "").strip():
        return reading.parsed_spec(stated.encode())
    spec = reading.answered(_look(upload), _answers(upload))
    version = upload.fields.get("version", spec.version)
    return reading.parsed_spec(
        json.dumps(spec.model_dump(mode="json") | {"version": version}).encode()
    )


def _answers(upload: Upload) -> dict[str, str]:
    try:
        answers = json.loads(upload.fields.get("answers") or "{}")
        if not isinstance(answers, dict):
            raise ValueError("no object")
    except ValueError as error:
        raise ValidationError("The field `answers` is no JSON object.") from error
    return {str(question): str(answer) for question, answer in answers.items()}


def _look(upload: Upload) -> reading.Look:
    name, licence = upload.fields.get("name", "").strip(), upload.fields.get("licence", "").strip()
    if not name:
        raise ValidationError("Give the model a `name`, or send a spec that has one.")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValidationError(
            f"{name[:80]!a} can't be a model's name: 1 to 64 of a-z, 0-9, '.', '_' and '-', with a "
            "letter or digit at both ends."
        )
    return reading.look_into(upload.file, upload.folder, name, licence or reading.UNKNOWN_LICENCE)


def _inspect(services: Services, upload: Upload) -> Inspection:
    count = _tries(upload)
    if package.is_package(upload.file):
        return _inspect_package(services, upload, count)
    fields = {"name": "imported"} | upload.fields
    look = _look(upload._replace(fields=fields))
    tries = look.proposal.tries(count) if look.proposal and count else ()
    return Inspection(
        format=look.format,
        tensors=look.tensors[:SHOWN_TENSORS],
        tries=[
            _tried(services, upload, number, answers, spec)
            for number, (answers, spec) in enumerate(tries)
        ],
        **reading.described(look),
    )


def _inspect_package(services: Services, upload: Upload, count: int) -> Inspection:
    made = _made(upload)
    spec = made.spec.model_dump(mode="json")
    return Inspection(
        format=made.source,
        tensors=[],
        facts=[f"{made.spec.ref}, exported by a server like this one; its spec is complete"],
        unknowns=[],
        spec=spec,
        tries=[_answered(services, {}, spec, lambda: made)] if count else [],
    )


def _ask(services: Services) -> Try:
    """From the thread of an upload to the worker."""
    return lambda spec, key: from_thread.run(services.workers.try_model, spec, key)


def _tries(upload: Upload) -> int:
    asked = upload.fields.get("tries", "0")
    if not asked.isdecimal() or int(asked) > MOST_TRIES:
        raise ValidationError(f"`tries` is a number from 0 to {MOST_TRIES}.")
    return int(asked)


def _tried(
    services: Services, upload: Upload, number: int, answers: dict[str, str], spec: ImportSpec
) -> Answered:
    folder = upload.folder / f"try-{number}"
    folder.mkdir()
    shown = spec.model_dump(mode="json", exclude_defaults=True)
    return _answered(
        services, answers, shown, lambda: reading.checkpoint_of(upload.file, spec, folder)
    )


def _answered(
    services: Services,
    answers: dict[str, str],
    shown: dict[str, Any],
    make: Callable[[], Assembled],
) -> Answered:
    try:
        trial = tried(services.storage, _ask(services), make())
    except SynthloomError as error:
        if error.status >= 500:
            raise
        finding = {"code": error.slug, "severity": "refused", "detail": error.detail}
        return Answered(answers=answers, spec=shown, findings=[finding], preview=None)
    return Answered(
        answers=answers,
        spec=shown,
        findings=[finding.model_dump(mode="json") for finding in trial.report.findings],
        preview=base64.b64encode(trial.preview).decode(),
    )
