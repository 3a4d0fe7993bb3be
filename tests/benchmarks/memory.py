"""Peak memory of a process, as the kernel kept it."""

from __future__ import annotations

from pathlib import Path


def peak_rss_kib(pid: int) -> int:
    """`VmHWM` of a live process: the most resident memory it ever had, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise ValueError(f"process {pid} has no VmHWM")
