"""Content Credentials in image files: a C2PA manifest, signed with the operator's own key.

C2PA 2.2 by `c2pa-python`, which is an optional extra. The manifest of an image says that it was
created by a trained algorithm (`c2pa.created`), and which sample of which model and seed it is. It
is embedded in the file; pixels are not touched. Nothing is asked of the network: no time stamp, no
revocation list, no trust list.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.datasets.marks import SOURCE_TYPE
from app.datasets.png import encode_batch
from app.errors import ConfigurationError, SigningError

SAMPLE: Final = "org.synthloom.sample"
"""The label of the assertion that says which sample an image is."""
BYTES: Final = 16 << 10
"""A manifest with a chain of a few certificates has fewer."""
NEEDED: Final = (
    "set SYNTHLOOM_C2PA_CERTIFICATE and SYNTHLOOM_C2PA_KEY to the paths of PEM files, for the "
    'server and for each worker, after `pip install "synthloom[c2pa]"`'
)
_OFFLINE: Final = {
    "verify": {
        "verify_after_sign": False,
        "verify_trust": False,
        "ocsp_fetch": False,
        "remote_manifest_fetch": False,
    },
    "builder": {"thumbnail": {"enabled": False}},
}


class Signing:
    """Signs image files. Threads may share one; the key is in memory only."""

    def __init__(self, certificate: Path, key: Path, algorithm: str) -> None:
        """Raises ConfigurationError where nothing can be signed with them."""
        library = _library()
        try:
            chain, secret = certificate.read_bytes(), key.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"The C2PA certificate or its key can't be read ({error.strerror}: "
                f"{error.filename}). Look at SYNTHLOOM_C2PA_CERTIFICATE and SYNTHLOOM_C2PA_KEY."
            ) from error
        try:
            self._signer = library.Signer.from_info(
                library.C2paSignerInfo(algorithm, chain, secret, None)
            )
            self._context = library.Context(settings=library.Settings.from_dict(_OFFLINE))
        except library.C2paError as error:
            raise _unusable(str(error)) from error
        self._builder, self._error = library.Builder, library.C2paError
        self._try(library)

    def sign(self, file: bytes, media_type: str, facts: dict[str, Any]) -> bytes:
        """The file with a manifest in it. facts: what the assertion about the sample says."""
        signed = io.BytesIO()
        manifest = json.dumps(_manifest(facts))
        try:
            with self._builder(manifest, context=self._context) as builder:
                builder.sign(self._signer, media_type, io.BytesIO(file), signed)
        except self._error as error:
            raise SigningError(
                f"An image could not be signed ({error}). Look at the C2PA certificate of the "
                "workers, then submit the job again."
            ) from error
        return signed.getvalue()

    def _try(self, library: Any) -> None:
        """Sign a small image and read it again, so that a wrong certificate is found at once."""
        try:
            [pixel] = encode_batch(np.zeros((1, 1, 1, 1), np.uint8))
            signed = self.sign(pixel, "image/png", {"sample": "synthloom:trial"})
            with library.Reader("image/png", io.BytesIO(signed), context=self._context) as reader:
                state, found = reader.get_validation_state(), reader.get_validation_results()
        except (library.C2paError, SigningError) as error:
            raise _unusable(str(error.__cause__ or error)) from error
        if state not in ("Valid", "Trusted"):
            raise _unusable(", ".join(_failures(found)))


def signing_of(certificate: Path | None, key: Path | None, algorithm: str) -> Signing | None:
    """What signs by these settings; None where neither is set. Raises ConfigurationError."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigurationError(
            "SYNTHLOOM_C2PA_CERTIFICATE and SYNTHLOOM_C2PA_KEY belong together: set both or none."
        )
    return Signing(certificate, key, algorithm)


def _library() -> Any:
    # Imported when it is needed: it is an extra, and large.
    try:
        import c2pa
    except ImportError as error:
        raise ConfigurationError(
            'Signing images needs the extra: `pip install "synthloom[c2pa]"`.'
        ) from error
    return c2pa


def _manifest(facts: dict[str, Any]) -> dict[str, Any]:
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    return {
        "claim_generator_info": [{"name": "Synthloom"}],
        "title": facts["sample"],
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": [created]}},
            {"label": SAMPLE, "data": facts},
        ],
    }


def _failures(results: Any) -> Sequence[str]:
    failures = ((results or {}).get("activeManifest") or {}).get("failure", [])
    return [f"{failure['code']}: {failure.get('explanation', '')}" for failure in failures]


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"Nothing can be signed with the C2PA certificate and key ({why}). The certificate's file "
        "has the chain in PEM, the signer's first, with digitalSignature and an extended key usage "
        "such as emailProtection; the key's file is PKCS #8; both belong together and to "
        "SYNTHLOOM_C2PA_ALGORITHM."
    )
