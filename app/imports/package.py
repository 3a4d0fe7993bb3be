"""A registered model as one file, and back: a zip of its spec, its weights and what was measured.

Members are stored, so that the weights lie in it as they are. Of a file that comes in, only spec
and weights are read, and both are looked at as those of any stranger.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from app.datasets.zip_writer import Sink, ZipWriter
from app.errors import ConflictError, ModelSpecError, UnsupportedCheckpointError
from app.imports.reading import refusals
from app.storage import LocalStorage
from models.corpus.zip_end import BadZipError
from models.corpus.zip_reader import ENCRYPTED, STORED, Entry, ZipReader
from models.declared.problems import explain
from models.files import (
    ONNX_FILE,
    SPEC_BYTES_LIMIT,
    SPEC_FILE,
    WEIGHTS_FILE,
    read_spec,
    weights_file,
)
from models.importing.assemble import Assembled, check_assembled
from models.importing.errors import Kind
from models.spec import ModelSpec

SOURCE: Final = "exported model"
MEDIA_TYPE: Final = "application/zip"
PREVIEW_FILE, PROBE_FILE, README_FILE = "preview.png", "probe.json", "README.md"
MEMBERS: Final = {SPEC_FILE, README_FILE, PREVIEW_FILE, PROBE_FILE, WEIGHTS_FILE, ONNX_FILE}
LARGEST_WEIGHTS: Final = (1 << 32) - 2
"""A member of a zip without its 64-bit extension."""
_START, _NAME_AT, _SPEC_NAME = b"PK\x03\x04", 30, SPEC_FILE.encode()

README = """# {ref}

{description}

| | |
|---|---|
| licence | {licence} |
| family, architecture | {family}, {architecture} |
| image | {height} x {width} x {channels} |
| classes | {classes} |
| SHA-256 | {sha256} |

A model exported from Synthloom. `synthloom models import FILE` brings it to another server, under
the same SHA-256, which is that of `spec.json`, as canonical JSON, and with it of the weights.

`{weights}` has the network's numbers and no code. `preview.png` and `probe.json`, where they are
there, are what the exporting server drew and measured; a server that imports the file does both
again for itself.
"""


class Package(NamedTuple):
    """A registered model, ready to be written: equal models, equal bytes."""

    spec: ModelSpec
    small: Mapping[str, bytes]
    """Members beside the weights: name → content."""
    weights_key: str

    @property
    def tag(self) -> str:
        """A digest of all that the bytes of the file depend on."""
        digest = hashlib.sha256(self.spec.weights.sha256.encode())
        for name, content in self.small.items():
            digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
        return digest.hexdigest()

    def write(self, sink: Sink, storage: LocalStorage) -> None:
        """Write the zip, in memory that does not grow with the weights."""
        members = ZipWriter(sink)
        try:
            for name, content in self.small.items():
                members.add(name, content)
            with storage.open(self.weights_key) as file:
                members.add_file(weights_file(self.spec), file)
            members.close()
        finally:
            members.discard()


def packed(
    spec: ModelSpec, weights_key: str, preview: bytes | None, probe: dict[str, Any] | None
) -> Package:
    """The package of a model. Raises ConflictError for weights that no member can hold."""
    if spec.weights.bytes > LARGEST_WEIGHTS:
        raise ConflictError(
            f"The weights of {spec.ref} have 4 GiB or more, which an exported file can't hold. "
            "Copy the files of its checkpoint instead."
        )
    small = {SPEC_FILE: spec.to_json().encode(), README_FILE: _readme(spec).encode()}
    if preview is not None:
        small[PREVIEW_FILE] = preview
    if probe is not None:
        small[PROBE_FILE] = json.dumps(probe, indent=2, sort_keys=True).encode()
    return Package(spec, small, weights_key)


def pack_folder(folder: Path, target: Path) -> ModelSpec:
    """The folder of a checkpoint, as a training leaves it, as a package in the file `target`.

    Raises ModelSpecError for a folder that has no spec in it.
    """
    with refusals():
        spec = read_spec(folder)
    if not (folder / weights_file(spec)).is_file():
        raise ModelSpecError(f"{folder} has a spec, but no {weights_file(spec)} beside it.")
    preview = folder / PREVIEW_FILE
    package = packed(
        spec, weights_file(spec), preview.read_bytes() if preview.is_file() else None, None
    )
    with target.open("wb") as sink:
        package.write(sink, LocalStorage(folder))
    return spec


def is_package(path: Path) -> bool:
    """Whether a file is a zip with a spec at its top, or the beginning of one."""
    with path.open("rb") as file:
        head = file.read(_NAME_AT + len(_SPEC_NAME))
    if head[: len(_START)] != _START:
        return False
    if head[_NAME_AT:] == _SPEC_NAME:
        return True
    try:
        with ZipReader(path) as archive:
            return any(entry.raw_name == _SPEC_NAME for entry in islice(archive, len(MEMBERS)))
    except BadZipError:
        return False


def unpacked(path: Path, workdir: Path, changes: Mapping[str, str]) -> Assembled:
    """Spec and weights of a package, the weights in `workdir`.

    changes: fields of the spec that shall be others; that makes it another model.
    Raises UnsupportedCheckpointError for the file, ModelSpecError for its spec.
    """
    try:
        with ZipReader(path) as archive:
            members = _members(archive)
            spec = _spec(b"".join(archive.chunks(members[SPEC_FILE])), changes)
            weights = _weights(archive, members, spec, LocalStorage(workdir))
    except BadZipError as error:
        raise _refused(Kind.DAMAGED, str(error)) from error
    with refusals():
        check_assembled(spec, weights, workdir)
    return Assembled(spec, weights, SOURCE)


def _members(archive: ZipReader) -> dict[str, Entry]:
    members: dict[str, Entry] = {}
    for entry in archive:
        name = entry.name
        if name not in MEMBERS:
            raise _refused(Kind.ZIP, f"has a member {name[:80]!a}, which no exported model has")
        if name in members:
            raise _refused(Kind.ZIP, f"has two members {name}")
        if entry.method != STORED or entry.flags & ENCRYPTED or entry.bytes != entry.compressed:
            raise _refused(Kind.COMPRESSED_MEMBERS, f"has {name} compressed or encrypted")
        members[name] = entry
    if SPEC_FILE not in members:
        raise _refused(Kind.DAMAGED, f"has no {SPEC_FILE}")
    if members[SPEC_FILE].bytes > SPEC_BYTES_LIMIT:
        raise _refused(Kind.TOO_COMPLEX, f"has a spec of more than {SPEC_BYTES_LIMIT} bytes")
    return members


def _spec(content: bytes, changes: Mapping[str, str]) -> ModelSpec:
    try:
        spec = ModelSpec.model_validate_json(content)
        return ModelSpec.model_validate({**spec.model_dump(), **changes}) if changes else spec
    except ValidationError as error:
        raise ModelSpecError(f"The spec of the exported model: {explain(error)}.") from error


def _weights(
    archive: ZipReader, members: Mapping[str, Entry], spec: ModelSpec, folder: LocalStorage
) -> Path:
    name = weights_file(spec)
    entry = members.get(name)
    if entry is None or entry.bytes != spec.weights.bytes:
        found = "no such member" if entry is None else f"{entry.bytes} bytes of it"
        raise _refused(
            Kind.DAMAGED, f"has {found}, where its spec has {spec.weights.bytes} of {name}"
        )
    with folder.create(f"unpacked/{name}") as writer:
        for chunk in archive.chunks(entry):
            writer.write(chunk)
        if writer.sha256 != spec.weights.sha256:
            raise _refused(Kind.DAMAGED, f"has a {name} that is not the one its spec names")
    return folder.path(f"unpacked/{name}")


def _refused(kind: Kind, found: str) -> UnsupportedCheckpointError:
    return UnsupportedCheckpointError(
        f"This exported model {found}. Export it again, and send the file as it comes.",
        kind=kind.value,
    )


def _readme(spec: ModelSpec) -> str:
    image = spec.image
    return README.format(
        ref=spec.ref,
        description=spec.description or "No description was given.",
        licence=spec.licence,
        family=spec.family,
        architecture=spec.architecture,
        height=image.height,
        width=image.width,
        channels=image.channels,
        classes=", ".join(spec.classes) or "none: it takes no label",
        sha256=spec.sha256,
        weights=weights_file(spec),
    )
