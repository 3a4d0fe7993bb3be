"""`Accept` by RFC 9110, 12.5.1."""

from __future__ import annotations

import pytest

from app.api.negotiation import preferred

OFFERED = ["application/zip", "application/x-npz", "image/png", "application/json"]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", "application/zip"),
        ("application/*", "application/zip"),
        ("image/*", "image/png"),
        ("application/json", "application/json"),
        ("Application/JSON ; charset=utf-8", "application/json"),
        # the highest quality, wherever it stands
        ("application/zip;q=0.1, application/json;q=0.9", "application/json"),
        ("application/zip;q=0.5, image/png", "image/png"),
        ("image/png;q=0.001, text/html", "image/png"),
        # ties: what is named more exactly, then our order
        ("application/json, */*", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("image/*, */*", "image/png"),
        ("application/json, application/zip", "application/zip"),
        ("application/json;q=0.3, application/x-npz;q=0.3", "application/x-npz"),
        # the most exact range says the quality of a type, also when it is the lower one
        ("application/zip;q=0.2, application/*;q=0.8", "application/x-npz"),
        ("application/zip;q=0, */*", "application/x-npz"),
        ("application/*;q=0, */*;q=0.1", "image/png"),
        # refused
        ("text/csv", None),
        ("", None),
        ("application/zip;q=0", None),
        ("*/*;q=0.0", None),
        ("application/zip;q=much", None),
        (";;,,==", None),
    ],
)
def test_what_is_preferred(accept: str, chosen: str | None) -> None:
    assert preferred(accept, OFFERED) == chosen


@pytest.mark.parametrize("quality", ["nan", "inf", "-1", "1e400"])
def test_strange_numbers_do_no_harm(quality: str) -> None:
    assert preferred(f"application/json;q={quality}, image/png;q=0.5", OFFERED) in OFFERED
