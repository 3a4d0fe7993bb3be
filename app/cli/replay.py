"""`synthloom jobs replay`: are the samples of a job still what it would draw?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.failures import CommandError, ExitCode
from app.cli.terminal import plain, print_json, say, stdout

AMOUNT = "1%, or a number of samples."


def replay(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of the job: job_…")],
    amount: Annotated[str, typer.Option("--samples", metavar="N", help=AMOUNT)] = "100",
    index: Annotated[
        list[int] | None,
        typer.Option("--index", min=0, metavar="I", help="This sample; once for each."),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="SEED", help="Which ones are chosen.")
    ] = 0,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")] = False,
) -> None:
    """Draw samples of a job again, and compare their pixels with its manifest."""
    asked = {"indices": index} if index else amount_of(amount, "--samples") | {"seed": seed}
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.replay(job, asked)
    if as_json:
        print_json(found.model_dump(mode="json"))
    if found.equal != found.samples:
        for each in found.different:
            say(line_of(each))
        raise CommandError(found.verdict, ExitCode.UNVERIFIED)
    if not as_json:
        stdout().print(plain(found.verdict), soft_wrap=True)


def amount_of(text: str, option: str) -> dict[str, Any]:
    """`1%` or `200` as a request has it: a share or a number of samples."""
    digits = text.removesuffix("%")
    try:
        number = float(digits) / 100 if text.endswith("%") else int(digits)
    except ValueError:
        number = 0
    if not 0 < number <= (1 if text.endswith("%") else 10**12):
        raise typer.BadParameter(f"{text!r} is not like 1% or 200.", param_hint=option)
    return {"share": number} if text.endswith("%") else {"samples": number}


def line_of(different: dict[str, Any]) -> str:
    """What is wrong with one sample, in one line."""
    wrong = []
    if not different["pixels_equal"]:
        most = different["largest_difference"]
        level = "" if most is None else f" (by up to {most} of 255 from the stored file)"
        wrong.append(f"its pixels are others{level}")
    if not different["file_equal"]:
        wrong.append("its stored file is not the one that the manifest lists")
    return f"Sample {different['index']} ({different['class']}): {' and '.join(wrong)}."
