"""`make bench`, or `python -m tests.benchmarks [PART …]`: prints a table as it goes.

Every figure is written to `build/bench.json` (flat: figure → number) as soon as it is there, so a
stop loses nothing. With parts named, their figures are added to the file that is there already.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.benchmarks.report import Report

Found = Iterator[dict[str, float]]
Part = Callable[[Path, argparse.Namespace, Report], Found]

# Each part imports what it measures itself: a part that can't run does not stop the others.


def _start(folder: Path, options: argparse.Namespace, _: Report) -> Found:
    from tests.benchmarks.figures import small_job_ms, start_seconds

    yield start_seconds(folder, options.rounds)
    yield small_job_ms(folder, 10 * options.rounds)


def _encoders(*_: object) -> Found:
    from tests.benchmarks.parts import png_over_pillow

    yield png_over_pillow()


def _rows(folder: Path, *_: object) -> Found:
    from tests.benchmarks.rows import rows_per_second

    yield from rows_per_second(folder)


def _loop(folder: Path, options: argparse.Namespace, _: Report) -> Found:
    from tests.benchmarks.figures import job_over_bare_loop

    yield job_over_bare_loop(folder, options.samples, options.rounds)


def _sync(_: Path, options: argparse.Namespace, report: Report, *, rivals: bool) -> Found:
    from tests.benchmarks.sync import measure

    yield from measure(rivals, options.rounds, options.seconds, report.console.print)


def _memory(folder: Path, options: argparse.Namespace, _: Report) -> Found:
    from tests.benchmarks.figures import memory_growth

    yield memory_growth(folder, options.few, options.many)


def _script(folder: Path, options: argparse.Namespace, _: Report) -> Found:
    from tests.benchmarks.jobs import against_script

    yield from against_script(folder, options.script_samples, options.rounds)


def _shards(folder: Path, options: argparse.Namespace, _: Report) -> Found:
    from tests.benchmarks.jobs import shard_overhead

    yield from shard_overhead(folder, options.rounds)


def _curves(folder: Path, options: argparse.Namespace, _: Report) -> Found:
    from tests.benchmarks.curves import measure

    yield from measure(folder, options.largest, options.rounds)


def _exports(folder: Path, options: argparse.Namespace, _: Report) -> Found:
    from tests.benchmarks.exports import measure

    yield from measure(folder, options.largest_export, options.rounds)


def _profile(folder: Path, *_: object) -> Found:
    from tests.benchmarks.stages import measure

    yield from measure(folder)


PARTS: Mapping[str, Part] = {
    "start": _start,
    "encoders": _encoders,
    "rows": _rows,
    "script": _script,
    "shards": _shards,
    "sync": partial(_sync, rivals=False),
    "servers": partial(_sync, rivals=True),
    "curves": _curves,
    "exports": _exports,
    "loop": _loop,
    "memory": _memory,
    "profile": _profile,
}
"""Name → what it measures, in the order of a full run."""

WHEN_NAMED = frozenset({"sync"})
"""Parts that a full run leaves out: `servers` measures what `sync` does, and more."""


def main() -> int:
    """Measure, print, write; 1 when a part failed."""
    options = _options()
    # As an exception it ends the servers that were started too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    names = options.parts or [name for name in PARTS if name not in WHEN_NAMED]
    known = json.loads(options.out.read_text()) if options.parts and options.out.exists() else {}
    report, failed = Report(options.out, known), False
    for name in names:
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="synthloom-bench-") as folder:
                for found in PARTS[name](Path(folder), options, report):
                    report.add(found)
        except Exception:
            # The other parts are worth having all the same.
            traceback.print_exc()
            failed = True
        report.console.print(f"-- {name}: {time.monotonic() - began:.0f} s", highlight=False)
    report.table()
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="of what takes turns")
    parser.add_argument("--seconds", type=float, default=6.0, help="of load on a server")
    parser.add_argument("--samples", type=int, default=200_000, help="of the job against the loop")
    parser.add_argument(
        "--script-samples", type=int, default=20_000, help="of the job against the script"
    )
    parser.add_argument("--largest", type=int, default=1_000_000, help="N of the curve")
    parser.add_argument("--largest-export", type=int, default=100_000, help="N of the exports")
    parser.add_argument("--few", type=int, default=20_000, help="small job of the memory figure")
    parser.add_argument("--many", type=int, default=200_000, help="large job of the memory figure")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    unknown = set(options.parts) - PARTS.keys()
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
