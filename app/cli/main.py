"""The `synthloom` command."""

from __future__ import annotations

import typer

from app.cli.augment import augment
from app.cli.datasets import datasets
from app.cli.demo import demo
from app.cli.evaluate import evaluate
from app.cli.evaluate_remote import or_by_service
from app.cli.failures import Commands
from app.cli.generate import generate
from app.cli.interpolate import interpolate
from app.cli.jobs import jobs
from app.cli.models import models
from app.cli.replay import replay
from app.cli.runs import evaluations, trainings
from app.cli.serve import migrate, serve, worker
from app.cli.train import with_service
from app.cli.verify import verify
from models.training.cli import train_command

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
    help="Fill the classes a dataset is short of with samples of trained GANs and VAEs.",
)

app.command()(generate)
app.command()(augment)
app.command()(interpolate)
app.add_typer(models, name="models")
jobs.command("replay")(replay)
app.add_typer(jobs, name="jobs")
app.add_typer(datasets, name="datasets")
app.add_typer(trainings, name="trainings")
app.add_typer(evaluations, name="evaluations")
app.command("evaluate")(or_by_service(evaluate))
app.command()(verify)
app.command()(demo)
app.command()(serve)
app.command()(worker)
app.command()(migrate)
app.command("train")(with_service(train_command))
