"""`synthloom verify`: is a dataset what it says it is?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts
from app.cli.failures import CommandError, ExitCode
from app.cli.readers import Read, read_by_readers
from app.cli.regenerate import (
    PackageOption,
    RegenerateOption,
    Regeneration,
    check_options,
    regenerate,
    sentence,
)
from app.cli.terminal import plain, print_json, print_table, say, stdout
from app.datasets.verify import PROBLEMS_KEPT, Verification
from app.datasets.verify import verify as verify_dataset


def verify(
    path: Annotated[
        Path,
        typer.Argument(metavar="DIR_OR_ZIP", exists=True, help="Unpacked dataset or archive."),
    ],
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="manifest.ndjson of its job, to compare with too.",
        ),
    ] = None,
    readers: Annotated[
        bool,
        typer.Option(
            "--readers", help="Then read all of it with torchvision, datasets or webdataset too."
        ),
    ] = False,
    regenerating: RegenerateOption = None,
    package: PackageOption = None,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")
    ] = False,
) -> None:
    """Check every file of a dataset against its SHA256SUMS and its dataset.json.

    With --manifest, also against the manifest: names, file hashes, and, unless the images are
    lossy, the hashes of their pixels. With --readers, also as a training would read it: every
    sample, counted by class. With --regenerate, some samples are drawn again from what the manifest
    says of them, by the service at --server, or by one that is started for it.
    """
    check_options(regenerating, manifest)
    found = verify_dataset(path, manifest=manifest)
    read = read_by_readers(path) if readers and found.ok else []
    again = None
    if found.ok and regenerating is not None and manifest is not None:
        where = Whereabouts(server, data, api_key)
        again = regenerate(path, manifest, regenerating, where, package)
    if as_json:
        more: dict[str, Any] = {"readers": [one._asdict() for one in read]} if read else {}
        more |= {"regenerated": again.summary()} if again else {}
        print_json(summary(found) | real_summary(found) | more)
    elif found.ok:
        show(found)
        for one in read:
            say_read(one)
    if not found.ok:
        raise _refusal(found)
    if again is not None:
        tell(again, as_json)


def _refusal(found: Verification) -> CommandError:
    """Says each problem; the error ends the command."""
    for problem in found.problems:
        say(problem)
    return CommandError(
        f"{found.path} is not right ({counted(found.problem_count)}); generate or download it "
        "again.",
        ExitCode.UNVERIFIED,
    )


def tell(again: Regeneration, as_json: bool) -> None:
    """What came of drawing samples again; ends the command when they are not the same."""
    if again.different:
        for line in again.different[:PROBLEMS_KEPT]:
            say(line)
        raise CommandError(sentence(again), ExitCode.UNVERIFIED)
    if not as_json:
        stdout().print(plain(sentence(again)), soft_wrap=True)


def summary(found: Verification) -> dict[str, Any]:
    """What a program wants to know."""
    return {
        "path": str(found.path),
        "ok": found.ok,
        "files": found.files,
        "images": found.images,
        "bytes": found.bytes,
        "seed": found.seed,
        "models": found.models,
        "classes": [
            {"class": name, "asked": found.asked.get(name, 0), "delivered": delivered}
            for name, delivered in found.delivered.items()
        ],
        "problem_count": found.problem_count,
        "problems": found.problems,
    }


def show(found: Verification) -> None:
    """The classes and one line."""
    rows = [(name, found.asked.get(name, 0), count) for name, count in found.delivered.items()]
    total = ("total", sum(row[1] for row in rows), sum(row[2] for row in rows))
    print_table(("class", "asked", "delivered"), [*rows, total], last_is_total=True)
    show_real(found)
    line = (
        f"{found.path} is right: {found.files:,} files, {found.images:,} images decoded, made by "
        f"{', '.join(found.models)} from seed {found.seed}."
    )
    stdout().print(plain(line), soft_wrap=True)


def real_summary(found: Verification) -> dict[str, Any]:
    """Of a merged dataset: split → class → real images."""
    return {"real": found.real} if found.real else {}


def show_real(found: Verification) -> None:
    """The real images by class and split, where there are any."""
    if found.real:
        names = dict.fromkeys(name for counts in found.real.values() for name in counts)
        print_table(
            ("class", *(f"real, {split}" for split in found.real)),
            [(name, *(c.get(name, 0) for c in found.real.values())) for name in names],
        )


def say_read(read: Read) -> None:
    """One line."""
    total = sum(read.samples_per_class.values())
    real = sum(sum(classes.values()) for classes in read.real.values())
    beside = f" and {real:,} real images" if real else ""
    stdout().print(plain(f"{read.reader} reads it: {total:,} samples{beside}."), soft_wrap=True)


def counted(problems: int) -> str:
    """`1 problem`, `2 problems`."""
    return "1 problem" if problems == 1 else f"{problems:,} problems"
