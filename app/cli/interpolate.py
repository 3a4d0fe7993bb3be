"""`synthloom interpolate`: the way from one seed to another, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.asking import LARGEST_SEED
from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.sampling import PsiOption, TemperatureOption, TruncationOption, add_sampling
from app.cli.terminal import plain, stdout
from app.client_types import JobRequest


def interpolate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME or NAME@VERSION.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="PNG to write.")],
    seeds: Annotated[
        list[int],
        typer.Option(
            "--seed",
            min=0,
            max=LARGEST_SEED,
            metavar="SEED",
            help="Where the way leads along; twice or more, in order.",
        ),
    ],
    steps: Annotated[
        int,
        typer.Option(
            "--steps", min=2, max=64, metavar="N", help="Images from one seed to the next."
        ),
    ] = 8,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows", min=2, max=64, metavar="N", help="A grid between four seeds, of one class."
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Once for each; every class if left out."),
    ] = None,
    truncation: TruncationOption = None,
    psi: PsiOption = None,
    temperature: TemperatureOption = None,
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
) -> None:
    """Draw what lies between the samples of two or more seeds, as one PNG, a class a row."""
    sampled = JobRequest()
    add_sampling(sampled, truncation, psi, temperature)
    request: dict[str, Any] = {"model": model, "seeds": seeds, "steps": steps, **sampled}
    if rows is not None:
        request["rows"] = rows
    if classes:
        request["classes"] = classes
    with connected(Whereabouts(server, data, api_key), embed=True) as client:
        png = client.interpolation(request)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(png)
    stdout().print(plain(f"The picture is {out}."), soft_wrap=True)
