"""`POST /v1/models`: bring your own checkpoint."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app import catalogue
from app.api.models import ModelDetail, facts_of
from app.api.services import Provided, Services, Tenant
from app.api.uploads import Upload, received
from app.errors import ModelSpecNeededError, SynthloomError, ValidationError
from app.imports import reading
from app.imports.trying import check, tried
from models.declared.import_spec import ImportSpec
from models.importing.proposal.propose import Proposal

router = APIRouter(prefix="/v1/models", tags=["models"])

FILE = "weights"
MOST_TRIES = 12
SHOWN_TENSORS = 200
_TRUE = ("true", "1", "yes", "on")


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


def _form(**fields: str) -> dict[str, Any]:
    texts = {name: {"type": "string", "description": text} for name, text in fields.items()}
    properties = {FILE: {"type": "string", "format": "binary"}, **texts}
    schema = {"type": "object", "required": [FILE], "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


IMPORT_FORM = _form(
    spec="the import spec (JSON); left out, one is proposed from the tensors",
    name="of the model, where the spec is left out",
    version="1.0.0 if left out, where the spec is left out",
    licence="of the weights, where the spec is left out",
    answers="JSON: question → label or number of the candidate",
    accept_degenerate="true: register it although its images are not worth serving",
)
INSPECT_FORM = _form(
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
    """Register a checkpoint: a state dict (.pt, .pth), safetensors, or ONNX.

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
    spec = _spec_of(upload)
    made = reading.checkpoint_of(upload.file, spec, upload.folder)
    with services.transaction() as session:
        known = catalogue.by_content(session, tenant, made.spec.sha256)
        catalogue.refuse_other_content(session, tenant, made.spec)
    if known is not None:
        return ModelDetail(**facts_of(known), spec=catalogue.spec_of(known)), False
    trial = tried(services.storage, services.workers.try_model, made)
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
    return ModelDetail(**facts_of(row), spec=made.spec), True


def _spec_of(upload: Upload) -> ImportSpec:
    if stated := upload.fields.get("spec", "").strip():
        return reading.parsed_spec(stated.encode())
    if reading.is_onnx(upload.file):
        raise ModelSpecNeededError(
            "An ONNX graph needs a spec: name, licence, family, image, latent_size, classes, "
            'value_range, and "architecture": "onnx". Ask /v1/models/inspect for its inputs.',
            proposal=_graph(upload).model_dump(),
        )
    spec = reading.answered(_proposal(upload), _answers(upload))
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


def _proposal(upload: Upload) -> Proposal:
    name, licence = upload.fields.get("name", "").strip(), upload.fields.get("licence", "").strip()
    if not name:
        raise ValidationError("Give the model a `name`, or send a spec that has one.")
    report = reading.report_of(upload.file, upload.folder)
    return reading.proposal_of(report, name, licence or reading.UNKNOWN_LICENCE)


def _inspect(services: Services, upload: Upload) -> Inspection:
    if reading.is_onnx(upload.file):
        return _graph(upload)
    report = reading.report_of(upload.file, upload.folder)
    rows = [row.model_dump(mode="json") for row in report.tensors[:SHOWN_TENSORS]]
    fields = upload.fields
    try:
        proposal = reading.proposal_of(
            report,
            fields.get("name") or "imported",
            fields.get("licence") or reading.UNKNOWN_LICENCE,
        )
    except ModelSpecNeededError as error:
        return Inspection(
            format=report.format, tensors=rows, facts=[error.detail], unknowns=[], spec=None,
            tries=[],
        )  # fmt: skip
    said = reading.described(proposal)
    tries = [_tried(services, upload, number, each.answers, each.spec)
             for number, each in enumerate(proposal.tries(_tries(upload)))
             if number < _tries(upload)]  # fmt: skip
    return Inspection(format=report.format, tensors=rows, tries=tries, **said)


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
    try:
        made = reading.checkpoint_of(upload.file, spec, folder)
        trial = tried(services.storage, services.workers.try_model, made)
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


def _graph(upload: Upload) -> Inspection:
    facts = reading.graph_of(upload.file, upload.folder)
    ports = [
        {"name": port.name, "dtype": port.dtype, "shape": list(port.shape), "role": role}
        for role, group in (("input", facts.inputs), ("output", facts.outputs))
        for port in group
    ]
    said = [f"{port['role']} {port['name']}: {port['dtype']} {port['shape']}" for port in ports]
    return Inspection(format="onnx", tensors=ports, facts=said, unknowns=[], spec=None, tries=[])
