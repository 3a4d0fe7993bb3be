"""The mark in every image file: that a model made it, and which sample of which dataset it is.

An XMP packet (ISO 16684-1) with IPTC's `DigitalSourceType`, which programs that show or collect
images look for, and the sample's identifier, `synthloom:<dataset>/<index>`. Each format has a place
for it: PNG an `iTXt` chunk, WebP an `XMP ` chunk, JPEG an APP1 segment. Pixels are not touched.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.datasets.members import DamagedError

SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for what a trained model drew."""

# One Description without the optional wrapper around a packet: it stands in every small file. What
# differs between samples comes last, so that all of it has the same length.
_HEAD: Final = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    f' Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"'
    ' dc:identifier="'
)
_TAIL: Final = '"/></rdf:RDF></x:xmpmeta>'

_DIGITS: Final = 12
_PLACES: Final = 10 ** np.arange(_DIGITS - 1, -1, -1)

BYTES: Final = 512
"""A packet and what its format puts around it have fewer."""


def identifier(dataset: str, index: int) -> str:
    """Of a sample: its dataset's identifier, and its index in it."""
    return f"synthloom:{dataset}/{index:0{_DIGITS}d}"


def packet(dataset: str, index: int) -> bytes:
    """The XMP packet of a sample, as UTF-8."""
    return f"{_HEAD}{identifier(dataset, index)}{_TAIL}".encode()


def packets(dataset: str, indices: ArrayLike) -> NDArray[np.uint8]:
    """uint8 [n, bytes]: the packet of each sample."""
    first = np.frombuffer(packet(dataset, 0), np.uint8)
    made = np.tile(first, (np.size(indices), 1))
    end = len(first) - len(_TAIL)
    made[:, end - _DIGITS : end] += (np.reshape(indices, (-1, 1)) // _PLACES % 10).astype(np.uint8)
    return made


def check(file: bytes, dataset: str, name: str) -> None:
    """Raise DamagedError where an image file lacks the mark of its sample.

    name: of the file, whose last part begins with the sample's index.
    """
    stem = name.rpartition("/")[2].partition(".")[0]
    if not (stem.isascii() and stem.isdigit()) or packet(dataset, int(stem)) not in file:
        raise DamagedError("lacks its mark: that it is synthetic, and which sample it is")
