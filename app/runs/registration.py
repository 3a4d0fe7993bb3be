"""From a trained checkpoint to a registered version of a model: tried like any stranger's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app import catalogue
from app.db.tables import DEFAULT_TENANT, Model
from app.errors import ConflictError, JobStoppedError, NotFoundError
from app.imports.trying import Try, check, seen
from app.jobs.work import WorkerContext
from app.runs import lifecycle
from app.runs.lifecycle import Lease
from app.runs.messages import CHECKPOINT_FOLDER
from models.files import WEIGHTS_FILE, read_spec
from models.spec import ImageShape, ModelSpec
from models.zoo.catalogue import shipped


def register_trained(
    context: WorkerContext, try_model: Try, lease: Lease, folder: Path, result: dict[str, Any]
) -> None:
    """Try the checkpoint, register it and end the run, these two in one transaction.

    Raises ModelRefusedError or ModelDegenerateError, ConflictError when the name was given to
    another kind of model meanwhile, JobStoppedError when the run is no longer this attempt's.
    """
    spec = read_spec(folder / CHECKPOINT_FOLDER)
    trial = seen(try_model(spec, f"{lease.folder}/{CHECKPOINT_FOLDER}/{WEIGHTS_FILE}"))
    check(trial.report, bool(lease.request.get("accept_degenerate")))
    with tempfile.TemporaryDirectory() as name, context.transaction() as session:
        preview = Path(name) / "preview.png"
        preview.write_bytes(trial.preview)
        if not lifecycle.hold(session, lease):
            raise JobStoppedError("The run has ended, or another attempt has begun.")
        catalogue.one_change_at_a_time(session, lease.tenant_id)
        spec = _versioned(session, lease.tenant_id, spec)
        model = catalogue.register(
            session,
            context.storage,
            lease.tenant_id,
            spec,
            folder / CHECKPOINT_FOLDER / WEIGHTS_FILE,
            preview,
            trial.report.model_dump(mode="json"),
        )
        named = {"model": spec.ref, "sha256": model.sha256}
        lifecycle.succeed(session, context.dispatcher, lease, {**result, **named})


def versions_of(session: Session, tenant_id: str, name: str) -> list[Model]:
    """Every version of a name, the newest first; none where it is free."""
    try:
        return catalogue.versions(session, tenant_id, name)
    except NotFoundError:
        return []


def refuse_other_kind(
    session: Session, tenant_id: str, name: str, image: ImageShape, classes: tuple[str, ...]
) -> None:
    """Raises ConflictError where the name belongs to models of other images.

    classes: of the model to be; empty for one that takes none. Whoever asks for `name` gets its
    newest version, so versions must be of one kind.
    """
    if tenant_id == DEFAULT_TENANT and name in {each.spec.name for each in shipped()}:
        raise ConflictError(f"{name} comes with Synthloom. Give the new model another name.")
    for model in versions_of(session, tenant_id, name)[:1]:
        known = catalogue.spec_of(model)
        if (known.image, known.classes) != (image, classes):
            raise ConflictError(
                f"{known.ref} makes {_kind(known.image, known.classes)}, not "
                f"{_kind(image, classes)}. Give the new model another name."
            )


def _kind(image: ImageShape, classes: tuple[str, ...]) -> str:
    size = f"images of {image.height} x {image.width} x {image.channels}"
    shown = ", ".join(ascii(name)[1:-1] for name in classes[:5])
    more = ", …" if len(classes) > 5 else ""
    return f"{size} of {len(classes)} classes ({shown}{more})" if classes else f"{size}, unlabelled"


def _versioned(session: Session, tenant_id: str, spec: ModelSpec) -> ModelSpec:
    """The spec as the next version of its name: 1.0.0, then one minor number more each time."""
    refuse_other_kind(session, tenant_id, spec.name, spec.image, spec.classes)
    known = versions_of(session, tenant_id, spec.name)
    if not known:
        return spec.model_copy(update={"version": "1.0.0"})
    major, minor, *_ = [int(part) for part in known[0].version.split(".")] + [0, 0]
    return spec.model_copy(update={"version": f"{major}.{minor + 1}.0"})
