"""Reports a tensor that it did not write."""

from __future__ import annotations

from typing import Any

from models.importing import convert


def run(source: Any, output: Any, options: Any) -> Any:
    report = convert.run(source, output, options)
    report["tensors"][0]["shape"] = [1 << 20, 1 << 20]
    return report
