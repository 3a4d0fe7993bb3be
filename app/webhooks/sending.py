"""One attempt: a POST to an address that was looked at before, with an end.

A name is resolved once; every address that it has is checked; the connection goes to one of those
that were checked, so a name that means something else a moment later (DNS rebinding) changes
nothing. The certificate is checked against the name. Redirects are not followed, proxies of the
environment are not used, and the answer's body is not read.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

import anyio
import httpx

from app.jobs.webhook import is_public

WHOLE_SECONDS = 20.0
"""For all of an attempt: lookup, connection, request, head of the answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt. error: in a few words; nothing of what the receiver wrote."""

    status: int | None = None
    error: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def final(self) -> bool:
        """Whether the receiver wants no more of it: 410 Gone."""
        return self.status == 410


class _RefusedAddressError(Exception):
    """The name leads where nothing may be sent."""


def send(url: str, headers: dict[str, str], body: bytes, private_allowed: bool) -> Outcome:
    """Post it once. Raises nothing: what went wrong is in the outcome."""
    return anyio.run(_send, url, headers, body, private_allowed)


async def _send(url: str, headers: dict[str, str], body: bytes, private_allowed: bool) -> Outcome:
    try:
        with anyio.fail_after(WHOLE_SECONDS):
            return Outcome(await _post(httpx.URL(url), headers, body, private_allowed))
    except _RefusedAddressError:
        return Outcome(error="the name leads to a private address")
    except TimeoutError:
        return Outcome(error="it took too long")
    except OSError:
        return Outcome(error="the name can't be resolved")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Outcome(error=_reason(error))


async def _post(url: httpx.URL, headers: dict[str, str], body: bytes, private_allowed: bool) -> int:
    port = url.port or (443 if url.scheme == "https" else 80)
    address = await _checked_address(url.host, port, private_allowed)
    sent = {
        "Host": url.netloc.decode("ascii"),
        "Content-Type": "application/json",
        "User-Agent": "synthloom-webhooks",
        **headers,
    }
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=WHOLE_SECONDS) as client,
        client.stream(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers=sent,
            extensions={"sni_hostname": url.host},
        ) as response,
    ):
        return response.status_code


async def _checked_address(host: str, port: int, private_allowed: bool) -> str:
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(place[0]) for _, _, _, _, place in found]
    if not addresses:
        raise OSError("the name has no address")
    if not private_allowed and not all(map(is_public, addresses)):
        raise _RefusedAddressError
    return addresses[0]


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it took too long"
    if isinstance(error, httpx.ConnectError):
        return "the connection was refused, or its certificate is not valid"
    return "the connection broke, or the answer is no HTTP"
