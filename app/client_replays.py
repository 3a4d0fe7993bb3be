"""What the service answers of samples that were drawn again."""

from __future__ import annotations

from typing import Any

from app.client_types import Answer


class Replayed(Answer):
    """What came of drawing samples of a job again."""

    job: str
    verdict: str
    samples: int
    equal: int
    different: list[dict[str, Any]]
    """The first of those that are not what the manifest lists, and how they differ."""
    environment_then: list[dict[str, str]]
    environment_now: dict[str, str]
    environment_changes: list[str]
    """What pixels may depend on and is not what it was."""


class Redrawn(Answer):
    """Samples of a manifest, drawn again."""

    pixel_sha256: list[str | None]
    """In the order in which they were asked for; None where they are not finite."""
    transforms: list[list[dict[str, Any]]] | None = None
    """What each sample got of the transforms."""
    environment: dict[str, str]
