"""What `dataset.json` in an archive says."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.datasets.members import DESCRIPTION, DamagedError, Members
from app.jobs.encoding import PNG, Encoding

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

    @property
    def reference(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


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

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if sum(self.samples_per_class.values()) != self.samples:
            raise ValueError("samples is not the sum of samples_per_class")
        if len(set(self.directories.values())) != len(self.directories):
            raise ValueError("two classes share a directory")
        if not set(self.samples_per_class) <= set(self.directories):
            raise ValueError("a class of samples_per_class has no directory")
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
