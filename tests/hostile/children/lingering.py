"""Closes its mouth and stays."""

from __future__ import annotations

import os
from typing import Any


def run(source: Any, output: Any, options: Any) -> Any:
    os.close(1)
    while True:
        pass
