"""`python -m models.training ARCHITECTURE --data PATH --name NAME --out DIR`."""

from __future__ import annotations

import typer

from models.training.cli import train

if __name__ == "__main__":
    typer.run(train)
