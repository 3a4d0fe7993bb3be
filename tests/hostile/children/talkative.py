"""Says more than anybody wants to hear."""

from __future__ import annotations

import os
from typing import Any


def run(source: Any, output: Any, options: Any) -> Any:
    while True:
        os.write(1, bytes(1 << 16))
