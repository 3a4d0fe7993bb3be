"""`python -m app.cli` is the `synthloom` command."""

from app.cli.main import app

app(prog_name="synthloom")
