"""Answers with what is no JSON: a pickle that runs `false` for whoever opens it."""

from __future__ import annotations

import os
from typing import Any


def run(source: Any, output: Any, options: Any) -> Any:
    os.write(1, b"cos\nsystem\n(S'false'\ntR.")
    os._exit(0)
