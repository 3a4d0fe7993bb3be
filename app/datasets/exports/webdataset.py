"""WebDataset: plain tar files of samples, read in sequence (https://github.com/webdataset/webdataset).

    train-000000.tar …      each with, of every sample, in order of index:
        <index>.png         the image (.webp, .jpg where those were asked for)
        <index>.cls         its label, the position of the class in `dataset.json`
        <index>.json        class, model, seed, candidate and hashes; of variants, which
    index.json              files and sample counts, as `wids` reads them

Of a dataset that is merged with a real one, `validation-000000.tar` and `index-validation.json` may
be there too, and the same of `test`.

Keys are unique over the whole dataset and hold no dot, as the format wants.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.datasets.exports.container import Container, Spool
from app.datasets.exports.content import Stored, by_number, most_bytes, pieces
from app.datasets.exports.ustar import BLOCK, END, headers_of, padding
from app.datasets.lines import Choices, Text, beside, decimals, hexadecimal
from app.datasets.manifest import Records
from app.datasets.merging.images import RealImages
from app.datasets.merging.tars import write_tars
from app.datasets.variants import Variants
from app.jobs.merge import SYNTHETIC, TRAIN
from app.jobs.plan import Plan

_KEY_DIGITS = 9
"""Of a sample's index in the names of its files, at least."""
_WRITTEN_AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a tar file ends: after so many samples, or before it would have more bytes."""

    samples: int
    bytes: int | None = None


def write_webdataset(
    container: Container,
    plan: Plan,
    samples: Iterable[Stored],
    cut: Cut,
    real: RealImages | None = None,
) -> None:
    """Add the tar files and their index. Those of real images stand behind those of samples, and
    are cut by their number only."""
    fields = _Fields(plan)
    files: list[dict[str, object]] = []
    by_bytes = cut.bytes is not None
    most = most_bytes(plan, cut.samples if cut.bytes is None else 1)
    most = max(most, cut.bytes or 0)
    room = cut.samples if cut.bytes is None else cut.bytes - len(END)
    for number, parts in pieces(samples, room, fields.weights if by_bytes else by_number):
        name, count = f"train-{number:06d}.tar", 0
        with container.part(name, most) as spool:
            for part in parts:
                fields.write(spool, part)
                count += len(part.rows)
            spool.write(END)
        files.append({"url": name, "nsamples": count, "filesize": spool.bytes})
    for split in real.merge.splits if real is not None else ():
        assert real is not None
        own = files if split == TRAIN else []
        own += write_tars(container, real, split, cut.samples, len(own))
        if split != TRAIN:
            container.add(f"index-{split}.json", _index(own))
    container.add("index.json", _index(files))


def _index(files: list[dict[str, object]]) -> bytes:
    """What `wids.ShardListDataset` reads, version 1."""
    document = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": files}
    return (json.dumps(document, indent=2) + "\n").encode()


class _Fields:
    """The members of samples: three files each, image, label and facts."""

    def __init__(self, plan: Plan) -> None:
        self._variants = Variants(plan) if plan.variants > 1 else None
        self._extension = plan.encoding.extension
        self._labels = Choices([str(cell.label).encode() for cell in plan.cells])
        self._facts = Choices([_facts(plan, cell) for cell in range(len(plan.cells))])

    def write(self, spool: Spool, part: Stored) -> None:
        """Header, content and padding of each file, sample after sample."""
        for start in range(0, len(part.files), _WRITTEN_AT_A_TIME):
            some = slice(start, start + _WRITTEN_AT_A_TIME)
            spool.write(self._blocks(Stored(part.rows[some], part.files[some])).data)

    def _blocks(self, part: Stored) -> NDArray[np.uint8]:
        """uint8 [b, 512]: what is written of some samples. Every file takes whole blocks."""
        index = part.rows["index"]
        images = part.rows["length"].astype(np.int64)
        labels, facts = self._labels.of(part.rows["cell"]), self._json(part.rows)
        texts = facts.lengths
        image_blocks, text_blocks = -(-images // BLOCK), -(-texts // BLOCK)
        ends = np.cumsum(4 + image_blocks + text_blocks)  # three headers, and the label's block
        made = np.zeros((int(ends[-1]) if len(ends) else 0, BLOCK), np.uint8)
        behind = ends - text_blocks
        made[ends - text_blocks - image_blocks - 4] = self._headers(index, self._extension, images)
        made[behind - 3] = self._headers(index, "cls", labels.lengths)
        made[behind - 2, : labels.content.shape[1]] = labels.content
        made[behind - 1] = self._headers(index, "json", texts)
        packed = facts.content
        for first in range(0, packed.shape[1], BLOCK):
            some = np.flatnonzero(texts > first)
            piece = packed[some, first : first + BLOCK]
            made[behind[some] + first // BLOCK, : piece.shape[1]] = piece
        flat = made.reshape(-1).data
        for at, file in zip(
            (BLOCK * (behind - 3 - image_blocks)).tolist(), part.files, strict=True
        ):
            flat[at : at + len(file)] = file
        return made

    def weights(self, part: Stored) -> NDArray[np.int64]:
        """int64 [n]: bytes of each sample in a tar file."""
        images = self._lengths(part)
        labels = self._labels.of(part.rows["cell"]).lengths
        sizes = (images, labels, self._json(part.rows).lengths)
        taken: NDArray[np.int64] = sum(
            (BLOCK + size + padding(size) for size in sizes), np.zeros(len(images), np.int64)
        )
        return taken

    def _headers(
        self, index: NDArray[np.int64], extension: str, sizes: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """uint8 [n, 512]."""
        names = beside(len(index), decimals(index, _KEY_DIGITS), f".{extension}".encode())
        return headers_of(names.content, sizes)

    def _lengths(self, part: Stored) -> NDArray[np.int64]:
        lengths: NDArray[np.int64] = part.rows["length"].astype(np.int64)
        return lengths

    def _json(self, rows: Records) -> Text:
        """A line of JSON each; what all samples of a cell share was written once."""
        more: list[Text | bytes] = []
        if self._variants is not None:
            firsts, variants = self._variants.columns(rows["index"])
            more = [b',"variant_of":', decimals(firsts), b',"variant":', decimals(variants)]
        return beside(
            len(rows),
            self._facts.of(rows["cell"]),
            b',"index":',
            decimals(rows["index"]),
            b',"candidate":',
            decimals(rows["candidate"]),
            b',"file_sha256":"',
            hexadecimal(rows["file_sha256"]),
            b'","pixel_sha256":"',
            hexadecimal(rows["pixel_sha256"]),
            b'"',
            *more,
            b"}",
        )


def _facts(plan: Plan, cell: int) -> bytes:
    """The first members of an object, without its end."""
    planned = plan.cells[cell]
    model = plan.models[planned.model]
    origin = {"origin": SYNTHETIC} if plan.merge else {}
    shared = {
        **origin,
        "synthetic": True,
        "class": plan.classes[planned.label],
        "label": planned.label,
        "model": model.ref,
        "model_sha256": model.sha256,
        "seed": plan.seed,
    }
    return json.dumps(shared, ensure_ascii=False, separators=(",", ":"))[:-1].encode()
