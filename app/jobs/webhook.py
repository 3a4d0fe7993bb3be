"""Where a request wants to be told of the end of its work, and which places are allowed. Pure."""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StrictStr, StringConstraints, field_validator

from app.errors import ValidationError

MOST_CHARACTERS = 2_000
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
"""RFC 3056: these hold an IPv4 address, which may be a private one."""


class Webhook(BaseModel):
    """Who is told when a job, a training or an evaluation has ended."""

    model_config = ConfigDict(extra="forbid")
    url: Annotated[StrictStr, StringConstraints(min_length=1, max_length=MOST_CHARACTERS)] = Field(
        description="gets a signed POST when it has succeeded, failed or was cancelled; https"
    )

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        plain = url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}')
        if not good or not plain:
            raise ValueError("write it like https://example.org/hooks/synthloom")
        if parts.username is not None or parts.password is not None:
            raise ValueError("an address with a user or a password in it is not taken")
        if "#" in url:
            raise ValueError("leave the part after # out: no server gets to see it")
        return url


def check_place(webhook: Webhook | None, private_allowed: bool) -> None:
    """Refuse what can be told from an address alone. Raises ValidationError.

    What a name means is looked up each time that something is sent.
    """
    if webhook is None or private_allowed:
        return
    parts = urlsplit(webhook.url)
    if parts.scheme != "https":
        raise ValidationError(
            f"A webhook goes to https, and {webhook.url[:100]!a} is not: anybody on the way could "
            "read it."
        )
    if not _may_be_public(parts):
        raise ValidationError(
            f"The webhook {webhook.url[:100]!a} leads to a private address. Name one that is "
            "public, or let the operator set SYNTHLOOM_WEBHOOK_PRIVATE_ADDRESSES=true."
        )


def _may_be_public(parts: SplitResult) -> bool:
    host = (parts.hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return False
    try:
        return is_public(host)
    except ValueError:
        # A name, unless its last part is a number: what some resolvers take for an address.
        last = host.rpartition(".")[2]
        return not (last.isdigit() or last.startswith("0x"))


def is_public(address: str) -> bool:
    """Whether an address is of the public internet: not of this machine, a private or link-local
    network, a cloud's metadata, multicast, or one that wraps another. Raises ValueError.
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        wraps = found in _SIX_TO_FOUR or found not in _GLOBAL_UNICAST
        return not wraps and found.is_global
    return found.is_global and not found.is_multicast and not found.is_reserved
