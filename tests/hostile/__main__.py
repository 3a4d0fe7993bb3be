"""`python -m tests.hostile`: mutants of good and hostile files against the reader, with figures.

All of them go through the reader in this process, held to a gigabyte; one in a hundred through
the sandbox as well. Whatever is neither imported nor refused by a kind ends with exit code 1.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from models.header import parse_header
from models.importing.convert import run
from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.formats import Format, identify
from models.importing.limits import Limits
from models.importing.sandbox import convert
from tests.hostile.mutants import mutant, seeds

VERDICT_SECONDS = 10.0
SANDBOXED = 100
MEMORY = 1 << 30
WORST = {Kind.OUT_OF_TIME, Kind.OUT_OF_MEMORY, Kind.CRASHED}


class Tally:
    """What became of the mutants."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest = 0.0
        self.sandboxed = 0
        self.peak_bytes = 0

    def judge(self, number: int, content: bytes) -> None:
        """One mutant through the reader in this process."""
        output, begun = io.BytesIO(), time.monotonic()
        try:
            if identify(io.BytesIO(content), len(content)) is not Format.ONNX:
                run(io.BytesIO(content), output, {"size": len(content), "limits": {}})
                parse_header(output.getvalue(), len(output.getvalue()))
            self.kinds["imported"] += 1
        except UnsupportedCheckpointError as error:
            self.kinds[error.kind] += 1
        except Exception as error:
            self.wrong.append(f"mutant {number}: {type(error).__name__}: {error}"[:200])
        self.slowest = max(self.slowest, time.monotonic() - begun)

    def judge_in_sandbox(self, number: int, content: bytes, folder: Path) -> None:
        """The same in the sandbox, which must leave nothing of what it refuses."""
        workdir = folder / "work"
        workdir.mkdir(exist_ok=True)
        path = folder / "mutant"
        path.write_bytes(content)
        self.sandboxed += 1
        try:
            outcome = convert(path, workdir, Limits(seconds=60.0))
            self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes - 2 * len(content))
            outcome.weights.unlink()
        except UnsupportedCheckpointError as error:
            self.peak_bytes = max(self.peak_bytes, error.peak_bytes - 2 * len(content))
            if error.kind in WORST or "unforeseen" in error.detail:
                self.wrong.append(f"mutant {number}: {error}"[:200])
        if list(workdir.iterdir()):
            self.wrong.append(f"mutant {number}: something was left")


def main() -> int:
    """Run, print the figures, and say whether anything was wrong."""
    parser = argparse.ArgumentParser(prog="tests.hostile", description=__doc__)
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this long")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "marker"
        pool = seeds(marker)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY + _address_space(),) * 2)
        tally, done = _judge_all(options, pool, Path(folder))
        if marker.exists():
            tally.wrong.append("code of a file was run: its marker is there")
    _print(options.seed, tally, done)
    return 1 if tally.wrong or tally.slowest > VERDICT_SECONDS else 0


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _judge_all(options: argparse.Namespace, pool: list[bytes], folder: Path) -> tuple[Tally, int]:
    tally, chance = Tally(), random.Random(options.seed)
    end = time.monotonic() + 60 * options.minutes
    for number in range(options.mutants):
        if time.monotonic() > end:
            return tally, number
        content = mutant(pool, chance)
        tally.judge(number, content)
        if number % SANDBOXED == 0:
            tally.judge_in_sandbox(number, content, folder)
    return tally, options.mutants


def _print(seed: int, tally: Tally, done: int) -> None:
    print(f"seed {seed}: {done} mutants, {tally.sandboxed} of them in the sandbox too")
    for kind, count in tally.kinds.most_common():
        print(f"  {count:8}  {kind}")
    print(f"  slowest verdict {tally.slowest:.2f} s; most memory of a child beyond twice its file "
          f"{tally.peak_bytes >> 20} MiB")  # fmt: skip
    for line in tally.wrong[:20]:
        print(f"  WRONG {line}")
    print(f"  {len(tally.wrong)} wrong")


if __name__ == "__main__":
    sys.exit(main())
