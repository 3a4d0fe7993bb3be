"""Ends without a word."""

from __future__ import annotations

import os
from typing import Any


def run(source: Any, output: Any, options: Any) -> Any:
    os._exit(0)
