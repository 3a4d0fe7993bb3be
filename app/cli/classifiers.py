"""`synthloom models classifiers`: who can label what a model without classes draws."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.connection import DataOption, KeyOption, ServerOption, Whereabouts, connected
from app.cli.terminal import print_json, print_table
from app.client_types import Classifier


def list_classifiers(
    server: ServerOption = None,
    data: DataOption = None,
    api_key: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")] = False,
) -> None:
    """List the classifiers that --labelled-by can name."""
    with connected(Whereabouts(server, data, api_key)) as client:
        found = client.classifiers()
    if as_json:
        print_json([classifier.model_dump(mode="json") for classifier in found])
        return
    print_table(("classifier", "image", "accuracy", "classes"), [_row(each) for each in found])


def _row(classifier: Classifier) -> tuple[object, ...]:
    image = classifier.image
    return (
        classifier.reference,
        f"{image.width} x {image.height} x {image.channels}",
        classifier.figures.get("test_accuracy", "unknown"),
        ", ".join(classifier.classes),
    )
