"""Signatures of webhooks: Standard Webhooks 1.0.0, symmetric (`v1`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from app.errors import ConfigurationError
from app.settings import Settings

SECRET_FILE = "webhook-secret"  # noqa: S105 - the name of a file
PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64


def secrets_of(settings: Settings) -> list[bytes]:
    """The keys that messages are signed with: several while one takes the place of another.

    Raises ConfigurationError.
    """
    path = settings.data_dir / SECRET_FILE
    if settings.webhook_secret is not None:
        text = settings.webhook_secret.get_secret_value()
    else:
        try:
            text = path.read_text()
        except OSError as error:
            raise ConfigurationError(
                f"There is no secret to sign webhooks with: {path} can't be read. Set "
                "SYNTHLOOM_WEBHOOK_SECRET."
            ) from error
    return [_key(word) for word in text.split()]


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ConfigurationError(
            f"SYNTHLOOM_WEBHOOK_SECRET is {PREFIX} and the base64 of {LEAST_BYTES} to {MOST_BYTES} "
            "bytes; several are parted by spaces."
        )
    return key


def headers_of(keys: list[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that sign a message. timestamp: seconds since 1970, of this attempt."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(d).decode()}" for d in digests),
    }
