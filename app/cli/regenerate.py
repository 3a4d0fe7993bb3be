"""`verify --regenerate`: samples of a manifest drawn again by a service that has their models."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.cli.connection import Whereabouts, connected
from app.cli.failures import CommandError, ExitCode
from app.cli.replay import amount_of
from app.client import Client
from app.datasets.description import Description, read_description
from app.datasets.manifest_file import LINE_BYTES_LIMIT
from app.datasets.members import members_of

RegenerateOption = Annotated[
    str | None,
    typer.Option(
        "--regenerate",
        metavar="N",
        help="With --manifest: draw 1%, or a number, of the samples again, and compare pixels.",
    ),
]
PackageOption = Annotated[
    Path | None,
    typer.Option(
        "--package",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="With --regenerate: a model that `models export` wrote, if the service lacks it.",
    ),
]
MOST_AT_ONCE = 500


class Row(BaseModel):
    """What a line of a manifest says of where its sample comes from."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    index: int
    class_name: str = Field(alias="class")
    label: int
    model_sha256: str
    shard: int
    candidate: int
    pixel_sha256: str
    variant: int = 0
    transforms: list[dict[str, Any]] | None = None


@dataclass
class Regeneration:
    """What came of it."""

    samples: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    transformed: bool = False
    """Whether something happened to the images after they were drawn."""
    different: list[str] = field(default_factory=list)
    """A sentence for each sample that is another now."""

    def summary(self) -> dict[str, Any]:
        """What a program wants to know."""
        return {
            "samples": self.samples,
            "equal": self.samples - len(self.different),
            "different": self.different,
            "environment": self.environment,
        }


def regenerate(
    path: Path, manifest: Path, amount: str, where: Whereabouts, package: Path | None
) -> Regeneration:
    """Draw some samples of a dataset that was found to be right, and to be that of the manifest.

    Without a service, one is started for it.
    """
    with members_of(path) as members:
        described = read_description(members)
    if described.engine_batch is None:
        raise CommandError(
            "dataset.json does not say in which batches its samples were drawn, so they can't be "
            "drawn again.",
            ExitCode.UNVERIFIED,
        )
    rows = _chosen(manifest, described.samples, amount)
    found = Regeneration(transformed=bool(described.transforms))
    with connected(where, embed=True) as client:
        if package is not None:
            client.import_model(package, accept_degenerate="true")
        for start in range(0, len(rows), MOST_AT_ONCE):
            _compare(client, described, rows[start : start + MOST_AT_ONCE], found)
    return found


def _chosen(manifest: Path, samples: int, amount: str) -> list[Row]:
    """The same ones each time; of 1 % at least one."""
    asked = amount_of(amount, "--regenerate")
    count = asked.get("samples") or max(1, ceil(samples * asked["share"]))
    wanted = random.Random(0).sample(range(samples), min(count, samples))  # noqa: S311
    return list(_rows(manifest, set(wanted)))


def _rows(manifest: Path, wanted: set[int]) -> Iterator[Row]:
    with manifest.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES_LIMIT), b"")):
            if number in wanted:
                try:
                    yield Row.model_validate_json(line)
                except ValidationError as error:
                    raise CommandError(
                        f"Line {number + 1} of {manifest} does not say where its sample comes "
                        "from; download the manifest again.",
                        ExitCode.UNVERIFIED,
                    ) from error


def _compare(client: Client, described: Description, rows: list[Row], found: Regeneration) -> None:
    labels = {model.sha256: model.conditions for model in described.models}
    redrawn = client.redraw(
        {
            "seed": described.seed,
            "sampling": described.sampling,
            "engine_batch": described.engine_batch,
            "precision": described.precision,
            "transforms": described.transforms,
            "samples": [_place(row, labels.get(row.model_sha256, {})) for row in rows],
        }
    )
    found.samples += len(rows)
    found.environment = redrawn.environment
    for place, (row, sha256) in enumerate(zip(rows, redrawn.pixel_sha256, strict=True)):
        name = f"Sample {row.index} ({row.class_name})"
        if sha256 != row.pixel_sha256:
            found.different.append(f"{name} has other pixels when it is drawn again.")
        elif redrawn.transforms and row.transforms != redrawn.transforms[place]:
            found.different.append(
                f"{name} was transformed by other parameters than the manifest lists."
            )


def _place(row: Row, conditions: dict[str, int]) -> dict[str, Any]:
    """Where a sample comes from, as the service asks for it."""
    return {
        "model_sha256": row.model_sha256,
        "shard": row.shard,
        "candidate": row.candidate,
        "label": conditions.get(row.class_name, row.label),
        "variant": row.variant,
    }


def sentence(found: Regeneration) -> str:
    """What came of it, in one line."""
    names = ("device", "torch", *(("torchvision",) if found.transformed else ()), "numpy")
    made = {name: found.environment.get(name) for name in names}
    drew = ", ".join(f"{name} {value}" for name, value in made.items() if value)
    if not found.different:
        return f"{found.samples:,} samples drawn again have the same pixels ({drew})."
    return (
        f"{len(found.different):,} of {found.samples:,} samples drawn again have other pixels. "
        f"They were drawn with {drew}; `synthloom jobs replay JOB` on the job's server says what "
        "drew them then. Pixels are promised to be equal with the same device and versions only."
    )


def check_options(amount: str | None, manifest: Path | None) -> None:
    """Before anything is read."""
    if amount is None:
        return
    if manifest is None:
        raise typer.BadParameter(
            "Give the manifest of the job too: --manifest FILE, which GET "
            "/v1/jobs/{id}/manifest.ndjson answers.",
            param_hint="--regenerate",
        )
    amount_of(amount, "--regenerate")
