"""The `synthloom` command.

Which command stands where is known without loading any of them: each is imported when it is asked
for, so none waits for the libraries of the others.
"""

from __future__ import annotations

from typing import Any

import typer

from app.cli.failures import Commands
from app.cli.lazy import Lazy

COMMANDS = {
    "generate": "app.cli.generate:generate",
    "augment": "app.cli.augment:augment",
    "interpolate": "app.cli.interpolate:interpolate",
    "evaluate": "app.cli.evaluate_remote:evaluate",
    "verify": "app.cli.verify:verify",
    "demo": "app.cli.demo:demo",
    "serve": "app.cli.serve:serve",
    "worker": "app.cli.serve:worker",
    "migrate": "app.cli.serve:migrate",
    "train": "app.cli.train:train",
    "models": "app.cli.models:models",
    "jobs": "app.cli.jobs:jobs",
    "datasets": "app.cli.datasets:datasets",
    "trainings": "app.cli.runs:trainings",
    "evaluations": "app.cli.runs:evaluations",
}
"""Name → module and function or group, in the order in which `--help` shows them."""


class Synthloom(Commands):
    """The top of the command tree."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = Lazy(COMMANDS)


app = typer.Typer(
    cls=Synthloom,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
    help="Fill the classes a dataset is short of with samples of trained GANs and VAEs.",
)


@app.callback()
def synthloom() -> None:
    """Every command says the rest."""
