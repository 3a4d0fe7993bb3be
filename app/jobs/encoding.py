"""How images become files: what a request chooses, a plan keeps and a file name shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

from models.spec import ImageShape

Quality = Annotated[StrictInt, Field(ge=1, le=100)]


class Chosen(BaseModel):
    """An encoding with its options. A spec's largest side, 4,096, is within every format's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    extension: ClassVar[str]
    media_type: ClassVar[str]
    modes: ClassVar[dict[int, tuple[str, ...]]]
    """Channels → the modes in which Pillow reads such a file."""

    @property
    def lossless(self) -> bool:
        """Whether a reader gets back the pixels that the generator made."""
        return True

    def most_bytes(self, image: ImageShape) -> int:
        """More than one file of an image of noise has, which is the worst a generator can do."""
        raise NotImplementedError


class Png(Chosen):
    """Lossless; grey, RGB or RGBA."""

    extension = "png"
    media_type = "image/png"
    modes = {1: ("L",), 3: ("RGB",), 4: ("RGBA",)}

    format: Literal["png"] = "png"

    def most_bytes(self, image: ImageShape) -> int:
        """As of `Chosen`."""
        return image.bytes + 300


class Webp(Chosen):
    """Lossless, or lossy with a `quality`. Grey images are kept as RGB, as the format has no grey.

    RFC 9649. At most 16,383 pixels a side.
    """

    extension = "webp"
    media_type = "image/webp"
    # A file whose every pixel is opaque says nothing of alpha.
    modes = {1: ("RGB",), 3: ("RGB",), 4: ("RGBA", "RGB")}

    format: Literal["webp"] = "webp"
    quality: Quality | None = Field(default=None, description="1 … 100; lossless if left out")

    @property
    def lossless(self) -> bool:
        """As of `Chosen`."""
        return self.quality is None

    def most_bytes(self, image: ImageShape) -> int:
        """As of `Chosen`; the lossy coder needs more for noise than the lossless one."""
        return 3 * image.height * image.width * (1 if image.channels < 4 else 2) + 600


class Jpeg(Chosen):
    """Lossy, colours at full resolution (4:4:4); grey or RGB. At most 65,535 pixels a side."""

    extension = "jpg"
    media_type = "image/jpeg"
    modes = {1: ("L",), 3: ("RGB",)}

    format: Literal["jpeg"] = "jpeg"
    quality: Quality = Field(default=95, description="1 … 100")

    @property
    def lossless(self) -> bool:
        """As of `Chosen`."""
        return False

    def most_bytes(self, image: ImageShape) -> int:
        """As of `Chosen`: blocks of 8 x 8 at the edges are kept whole."""
        blocks = -(-image.height // 8) * -(-image.width // 8)
        return 2 * 64 * blocks * image.channels + 1_000


PNG = Png()


def _named(value: Any) -> Any:
    """The name of a format stands for the format with its usual options."""
    return {"format": value} if isinstance(value, str) else value


Encoding = Annotated[Png | Webp | Jpeg, Field(discriminator="format")]
AskedEncoding = Annotated[
    Encoding,
    BeforeValidator(
        _named, json_schema_input_type=Literal["png", "webp", "jpeg"] | Png | Webp | Jpeg
    ),
]
"""An encoding as a request may write it: `"webp"`, or `{"format": "jpeg", "quality": 90}`."""

_FORMATS: Mapping[str, type[Png | Webp | Jpeg]] = {"png": Png, "webp": Webp, "jpeg": Jpeg}


def encoding_of(document: Mapping[str, Any] | None) -> Encoding:
    """The encoding that a plan kept; PNG for one of the time before there was a choice."""
    return _FORMATS[document["format"]](**document) if document else PNG
