"""The archives that a request asks for: a format by its name, or one with options. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from app.errors import ValidationError

MOST_FILES = 100_000
"""Files of samples in one archive: with more, its index alone would be too much for its readers."""

ShardSamples = Annotated[StrictInt, Field(ge=1, le=10_000_000)]
ShardBytes = Annotated[StrictInt, Field(ge=1 << 16, le=1 << 36)]


class Chosen(BaseModel):
    """A format with its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageFolder(Chosen):
    """Class folders; on request also what Hugging Face `datasets` reads beside them."""

    type: Literal["imagefolder"] = "imagefolder"
    metadata: StrictBool = Field(
        default=False,
        description="add `metadata.jsonl` and a dataset card, for `datasets.load_dataset`",
    )


class WebDataset(Chosen):
    """Tar files, cut by samples or by bytes."""

    type: Literal["webdataset"] = "webdataset"
    shard_samples: ShardSamples | None = Field(default=None, description="samples of a tar file")
    shard_bytes: ShardBytes | None = Field(
        default=None, description="most bytes of a tar file; one sample is in it in any case"
    )

    @model_validator(mode="after")
    def _cut_in_one_way(self) -> Self:
        if self.shard_samples is not None and self.shard_bytes is not None:
            raise ValueError('give "shard_samples" or "shard_bytes", not both')
        return self


class Parquet(Chosen):
    """Parquet files with a dataset card."""

    type: Literal["parquet"] = "parquet"
    shard_samples: ShardSamples | None = Field(
        default=None, description="samples of a Parquet file"
    )


class Npz(Chosen):
    """One file of arrays."""

    type: Literal["npz"] = "npz"


def _named(value: Any) -> Any:
    """The name of a format stands for the format with its usual options."""
    return {"type": value} if isinstance(value, str) else value


Format = Annotated[ImageFolder | WebDataset | Parquet | Npz, Field(discriminator="type")]
AskedFormat = Annotated[
    Format,
    BeforeValidator(
        _named,
        json_schema_input_type=Literal["imagefolder", "webdataset", "parquet", "npz"]
        | ImageFolder
        | WebDataset
        | Parquet
        | Npz,
    ),
]
"""A format as a request may write it: `"npz"`, or `{"type": "parquet", "shard_samples": 500}`."""

Kept = str | dict[str, Any]
"""A format as a job keeps it: its name where no option was chosen."""

_FORMATS: Mapping[str, type[ImageFolder | WebDataset | Parquet | Npz]] = {
    "imagefolder": ImageFolder,
    "webdataset": WebDataset,
    "parquet": Parquet,
    "npz": Npz,
}


def kept(chosen: Format) -> Kept:
    """What a job keeps of it."""
    options = chosen.model_dump(exclude_defaults=True)
    return {"type": chosen.type, **options} if options else chosen.type


def format_of(document: Kept) -> Format:
    """The format that a job kept."""
    options = _named(document)
    return _FORMATS[options["type"]](**options)


def name_of(document: Kept) -> str:
    """Its name."""
    return document if isinstance(document, str) else str(document["type"])


def each_once(asked: Sequence[Format]) -> list[Format]:
    """Each archive is built once, however often it is asked for.

    Raises ValueError where one is asked for with different options.
    """
    found: dict[str, Format] = {}
    for chosen in asked:
        if found.setdefault(chosen.type, chosen) != chosen:
            raise ValueError(f'"{chosen.type}" is asked for in two ways; a job has one of each')
    return list(found.values())


def check_cut(asked: Sequence[Format], samples: int) -> None:
    """Raise ValidationError where an archive would be cut into too many files."""
    for chosen in asked:
        size = chosen.shard_samples if isinstance(chosen, WebDataset | Parquet) else None
        if size is not None and -(-samples // size) > MOST_FILES:
            raise ValidationError(
                f"{size:,} samples a file would cut {samples:,} samples into more than "
                f'{MOST_FILES:,} files; take "shard_samples" of {-(-samples // MOST_FILES):,} at '
                "least."
            )
