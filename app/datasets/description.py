"""What `dataset.json` in an archive says."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.datasets.members import DESCRIPTION, DamagedError, Members
from app.jobs.encoding import PNG, Encoding
from app.jobs.merge import REAL, SYNTHETIC, TRAIN, Split

FORMAT = "synthloom-dataset/1"
DESCRIPTION_BYTES_LIMIT = 16 << 20


class Described(BaseModel):
    """Members that a later version adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class DescribedImage(Described):
    """The size of every image, in pixels."""

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    channels: Literal[1, 3, 4]

    @property
    def file_bytes_limit(self) -> int:
        """More than any encoder makes of such an image: twice its pixels, and room for text."""
        return 2 * self.height * (self.width * self.channels + 1) + (64 << 10)


class DescribedModel(Described):
    """A generator that took part."""

    name: str
    version: str
    sha256: str = ""
    conditions: dict[str, int] = {}
    """Class → label that it takes, where that is not the class's place in the dataset."""

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


class Origins(Described):
    """Images of one class in one split."""

    real: int = Field(ge=0)
    synthetic: int = Field(ge=0)


class DescribedMerge(Described):
    """The real dataset whose images are among the files. counts: split → class → images."""

    name: str
    licence: str
    counts: dict[Split, dict[str, Origins]]


class Description(Described):
    """The part of `dataset.json` that can be checked against the files."""

    format: Literal["synthloom-dataset/1"]
    seed: int
    directories: dict[str, str]
    samples: int
    samples_per_class: dict[str, int]
    image: DescribedImage
    encoding: Encoding = PNG
    layout: Literal["imagefolder", "webdataset", "parquet", "npz"] = "imagefolder"
    models: list[DescribedModel] = []
    identifier: str | None = Field(default=None, pattern="^[0-9a-f]{32}$")
    """Where it is given, every image file carries it."""
    engine_batch: int | None = None
    transforms: list[dict[str, Any]] = []
    precision: str = "float32"
    sampling: dict[str, float] | None = None
    merged: DescribedMerge | None = None

    @property
    def splits(self) -> list[Split]:
        """Its splits, training first."""
        return [TRAIN] if self.merged is None else list(self.merged.counts)

    def origin(self, said: str | None) -> str:
        """Of an image that says `real` or `synthetic`, or nothing: then all of them were drawn."""
        return said or SYNTHETIC

    def counts(self) -> dict[tuple[str, str, str], int]:
        """(split, origin, class) → images, without the empty ones."""
        if self.merged is None:
            counts = {(TRAIN, SYNTHETIC, n): count for n, count in self.samples_per_class.items()}
        else:
            counts = {
                (split, origin, name): count
                for split, classes in self.merged.counts.items()
                for name, both in classes.items()
                for origin, count in ((SYNTHETIC, both.synthetic), (REAL, both.real))
            }
        return {key: count for key, count in counts.items() if count}

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if sum(self.samples_per_class.values()) != self.samples:
            raise ValueError("samples is not the sum of samples_per_class")
        if len(set(self.directories.values())) != len(self.directories):
            raise ValueError("two classes share a directory")
        named = {name for _, _, name in self.counts()} | set(self.samples_per_class)
        if not named <= set(self.directories):
            raise ValueError("a class of samples_per_class has no directory")
        drawn = {n: c for (_, origin, n), c in self.counts().items() if origin == SYNTHETIC}
        if drawn != {name: count for name, count in self.samples_per_class.items() if count}:
            raise ValueError("the merged counts are not those of samples_per_class")
        return self


def read_description(members: Members) -> Description:
    """The parsed file, or `DamagedError` with what is wrong with it."""
    member = next((member for member in members if member.path == DESCRIPTION), None)
    if member is None:
        raise DamagedError("is missing")
    if member.refusal:
        raise DamagedError(member.refusal)
    if member.bytes > DESCRIPTION_BYTES_LIMIT:
        raise DamagedError(f"has {member.bytes:,} bytes, which is too large")
    text = b"".join(members.chunks(member))
    try:
        return Description.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedError(
            f"is not valid ({where + ': ' if where else ''}{first['msg']})"
        ) from error
