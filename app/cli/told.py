"""Who is told of the end of a job or a run, in one line."""

from __future__ import annotations

from typing import Any


def webhook_facts(webhook: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The row of a table; none where nobody is told."""
    if webhook is None:
        return []
    attempts = int(webhook.get("attempts") or 0)
    last = webhook.get("last_status") or webhook.get("last_error")
    said = f", the last one: {last}" if last else ""
    if webhook.get("delivered_at"):
        state = f"delivered {webhook['delivered_at']}, attempts: {attempts}"
    elif webhook.get("given_up"):
        state = f"given up after attempts: {attempts}{said}"
    else:
        state = f"not delivered, attempts: {attempts}{said}"
    return [("webhook", f"{webhook.get('url')}, {state}")]
