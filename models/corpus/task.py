"""The task of the sandbox that looks through a dataset which somebody has uploaded."""

from __future__ import annotations

import encodings.utf_8_sig  # noqa: F401 - Python would look for it when it is first used
from typing import Any, BinaryIO

from models.corpus.limits import Limits
from models.corpus.read import open_source
from models.corpus.survey import Surveyor
from models.errors import DatasetError


def run(source: BinaryIO, output: BinaryIO, options: dict[str, Any]) -> dict[str, Any]:
    """Options: "dataset" (fields of `Limits`). Pixels to show are written one after the other.

    Gives {"survey": a `Survey` as JSON, "shown": [[label, height, width, channels], …]}, or
    {"refused": a sentence, "kind": its kind}.
    """
    limits = Limits(**options["dataset"])
    try:
        with open_source(source, limits) as opened:
            surveyor = Surveyor(opened, limits)
            survey = surveyor.survey()
    except DatasetError as error:
        return {"refused": str(error), "kind": error.kind}
    shown = []
    for label, images in sorted(surveyor.shown.items()):
        for pixels in images:
            output.write(pixels.tobytes())
            shown.append([label, *pixels.shape])
    return {"survey": survey.model_dump(mode="json"), "shown": shown}
