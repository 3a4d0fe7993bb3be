"""An uploaded dataset, looked through in a child process that can do no harm."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import ValidationError

from models.corpus.limits import DEFAULT, Limits
from models.corpus.preprocessing import Pixels
from models.corpus.read import HEAD_BYTES, PARQUET_START, refuse_unknown
from models.corpus.survey import SHOWN_SIDE, Survey
from models.corpus.zip_end import BadZipError
from models.corpus.zip_reader import ZipReader
from models.errors import DatasetError
from models.importing.errors import Kind, UnsupportedCheckpointError
from models.importing.limits import Limits as ChildLimits
from models.importing.sandbox import run_in_sandbox

PARQUET_ENDING: Final = b".parquet"
PARQUET_IMPORT_BYTES: Final = 2 << 30
"""Address space of its libraries, of which little is used."""
SHOWN_LIMIT: Final = 1_000


@dataclass(frozen=True)
class Cost(ChildLimits):
    """What looking may cost. memory_bytes do not depend on the file, which is read in pieces."""

    file_bytes: int = 4 << 30
    seconds: float = 600.0
    memory_bytes: int = 2 << 30

    def memory(self, size: int) -> int:
        """Bytes that the child may use."""
        return self.memory_bytes

    def output(self, size: int) -> int:
        """Bytes that it may write."""
        return 64 << 20


class Inspected(NamedTuple):
    """What a dataset is. shown: by class, some of its images, small, uint8 [H, W, 1 or 3]."""

    survey: Survey
    shown: dict[int, list[Pixels]]


def inspect(
    path: Path, workdir: Path, limits: Limits = DEFAULT, cost: Cost | None = None
) -> Inspected:
    """Look through the dataset in a file: every image is decoded once, nothing is kept.

    Raises DatasetError, whose sentence says what to do.
    """
    cost = cost or Cost()
    parquet = _has_parquet(path)
    output = workdir / "shown"
    try:
        answer = run_in_sandbox(
            "parquet_dataset" if parquet else "dataset",
            path,
            output,
            {"dataset": asdict(limits)},
            cost,
            imports_bytes=PARQUET_IMPORT_BYTES if parquet else 0,
            threads=parquet,
            checkpoint=False,
        )
        return _understood(answer.result, output)
    except UnsupportedCheckpointError as error:
        raise _refused(error, cost) from error
    finally:
        output.unlink(missing_ok=True)


def _has_parquet(path: Path) -> bool:
    """Whether its library is needed. Raises DatasetError for a file that is no dataset at once."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    refuse_unknown(head)
    if head.startswith(PARQUET_START):
        return True
    try:
        with ZipReader(path) as archive:
            return any(entry.raw_name.lower().endswith(PARQUET_ENDING) for entry in archive)
    except BadZipError:
        return False


def _understood(result: Any, output: Path) -> Inspected:
    """The child's answer, which is a stranger's too."""
    try:
        if "refused" in result:
            raise DatasetError(str(result["refused"]), str(result["kind"]))
        survey = Survey.model_validate(result["survey"])
        shown: dict[int, list[Pixels]] = {}
        with output.open("rb") as file:
            for label, *shape in result["shown"][:SHOWN_LIMIT]:
                size = _checked(label, shape, len(survey.classes))
                pixels = np.frombuffer(file.read(size), np.uint8).reshape(shape)
                shown.setdefault(label, []).append(pixels)
        return Inspected(survey, shown)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise DatasetError("The dataset could not be read.", "crashed") from error


def _checked(label: Any, shape: list[Any], classes: int) -> int:
    numbers = (label, *shape)
    if not all(type(number) is int for number in numbers) or len(shape) != 3:
        raise ValueError("no shape")
    if not 0 <= label < classes or not all(1 <= side <= SHOWN_SIDE for side in shape):
        raise ValueError("out of range")
    return prod(shape)


def _refused(error: UnsupportedCheckpointError, cost: Cost) -> DatasetError:
    match error.kind:
        case Kind.OUT_OF_TIME:
            return DatasetError(
                f"The dataset could not be looked through in {cost.seconds:g} s. Bring smaller "
                "images, or fewer; or raise SYNTHLOOM_DATASET_SECONDS.",
                "out-of-time",
            )
        case Kind.OUT_OF_MEMORY:
            return DatasetError(
                "Looking through the dataset takes more memory than is allowed. Bring smaller "
                "images, or fewer.",
                "out-of-memory",
            )
        case Kind.TOO_LARGE:
            return DatasetError(
                f"The file has more than {cost.file_bytes:,} bytes. Bring a part of it.",
                "file-too-large",
            )
    return DatasetError(
        "The dataset could not be read: the process that looked at it gave up. Pack it again; if "
        "that does not help, find the file that is broken by halves.",
        "crashed",
    )
