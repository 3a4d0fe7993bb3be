"""Matrix products that do not depend on how many threads share them; no torch in here."""

from __future__ import annotations

import os
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def repeat_products(cpu_info: Path = CPU_INFO) -> None:
    """Let a product have the same bits whatever the number of threads; call it before torch's
    first one. A `MKL_CBWR` that is set already stays.

    torch's matrix products are those of Intel's MKL. Without its strict mode ("conditional
    numerical reproducibility", see its developer guide) rows of a product differed by rounding
    between one thread and two on a processor of Intel. Other makers' are left alone: there the mode
    can mean slow kernels, and they had no such difference.
    """
    if _is_intel(cpu_info):
        os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def _is_intel(cpu_info: Path) -> bool:
    try:
        return "GenuineIntel" in cpu_info.read_text()
    except OSError:
        return False
