"""`GET /v1/models/{name}/export`: a registered model as one file that another server imports."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from app import catalogue
from app.api.conditional import Download, not_modified
from app.api.services import Provided, Tenant
from app.api.uploads import FOLDER
from app.imports.package import MEDIA_TYPE, Package, packed
from app.storage import LocalStorage

router = APIRouter(prefix="/v1/models", tags=["models"])

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {}}},
    206: {"description": "a part of it"},
}


class _Passing(Download):
    """A download of an object that is removed after it, however it ends."""

    def __init__(self, storage: LocalStorage, key: str, **options: Any) -> None:
        super().__init__(storage.path(key), **options)
        self._storage, self._key = storage, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._storage.delete(self._key)


@router.head("/{name}/export", include_in_schema=False)
@router.get("/{name}/export", response_class=Response, responses=ANSWERS)
def export_model(services: Provided, tenant: Tenant, name: str, request: Request) -> Response:
    """The model as a zip: spec, weights, preview, and what was measured when it was imported.

    `POST /v1/models` of another server takes the file as it is, and the model has the same SHA-256
    there. Equal models are equal bytes. Ranges, a strong ETag, and the SHA-256 as `Repr-Digest`.
    """
    with services.transaction() as session:
        row = catalogue.find(session, tenant, name)
    preview = services.storage.read(row.preview_key) if row.preview_key else None
    package = packed(catalogue.spec_of(row), row.weights_key, preview, row.probe)
    headers = {"ETag": f'"{package.tag}"', "Cache-Control": "private, no-transform"}
    if not_modified(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    key, sha256 = _written(services.storage, package)
    headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
    return _Passing(
        services.storage,
        key,
        media_type=MEDIA_TYPE,
        filename=f"{row.name}-{row.version}.zip",
        headers=headers,
    )


def _written(storage: LocalStorage, package: Package) -> tuple[str, str]:
    """Key and SHA-256 of a passing object.

    What a crash leaves of it, a later start removes like an upload's.
    """
    key = f"{FOLDER}/{secrets.token_hex(8)}/{package.spec.sha256}.zip"
    with storage.create(key) as writer:
        package.write(writer, storage)
    return key, writer.sha256
