"""`python -m models.evaluation judge|choose|publish`."""

from __future__ import annotations

from models.evaluation.cli import make_app

if __name__ == "__main__":
    make_app()()
