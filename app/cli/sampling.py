"""How latents are drawn, as options."""

from __future__ import annotations

from typing import Annotated

import typer

from app.client_types import JobRequest

TruncationOption = Annotated[
    float | None,
    typer.Option(
        "--truncation",
        min=0.0,
        max=5.0,
        metavar="T",
        help="Draw entries of latents again that lie further from 0: less variety, more typical.",
    ),
]
PsiOption = Annotated[
    float | None,
    typer.Option(
        "--psi",
        min=0.0,
        max=2.0,
        metavar="P",
        help="Move styles towards the mean one (0); for stylegan2.",
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        "--temperature", min=0.0, max=10.0, metavar="S", help="Multiply latents; 1 if left out."
    ),
]


def add_sampling(
    request: JobRequest, truncation: float | None, psi: float | None, temperature: float | None
) -> None:
    """Only what was said; what is left out is the service's own default."""
    asked = {"truncation": truncation, "psi": psi, "temperature": temperature}
    said = {name: value for name, value in asked.items() if value is not None}
    if said:
        request["sampling"] = said
