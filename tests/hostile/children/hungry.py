"""Takes memory until there is none."""

from __future__ import annotations

from typing import Any


def run(source: Any, output: Any, options: Any) -> Any:
    held = []
    while True:
        held.append(bytearray(16 << 20))
