"""`python -m models.training --architecture NAME --data PATH --name NAME`."""

from __future__ import annotations

import typer

from models.training.cli import train_command, train_here

if __name__ == "__main__":
    typer.run(train_command(train_here))
