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

from app.datasets.exports.container import Container
from app.datasets.exports.content import Stored, by_number, most_bytes, pieces
from app.datasets.exports.ustar import BLOCK, END, members
from app.datasets.manifest import SampleRow
from app.datasets.merging.images import RealImages
from app.datasets.merging.tars import write_tars
from app.datasets.variants import Variants
from app.jobs.merge import SYNTHETIC, TRAIN
from app.jobs.plan import Plan


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
                spool.write(members(*fields.of(part)))
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
    """Names and contents of the members of samples."""

    def __init__(self, plan: Plan) -> None:
        self._variants = Variants(plan) if plan.variants > 1 else None
        self._extension = plan.encoding.extension
        self._labels = [str(cell.label).encode() for cell in plan.cells]
        self._facts = [_facts(plan, cell) for cell in range(len(plan.cells))]

    def of(self, part: Stored) -> tuple[list[str], list[bytes]]:
        """Three files a sample: image, label, facts."""
        names: list[str] = []
        contents: list[bytes] = []
        for row, image in zip(part.rows, part.files, strict=True):
            key = f"{row.sample:09d}"
            names += (f"{key}.{self._extension}", f"{key}.cls", f"{key}.json")
            contents += (image, self._labels[row.cell], self._json(row))
        return names, contents

    def weights(self, part: Stored) -> NDArray[np.int64]:
        """int64 [n]: bytes of each sample in a tar file."""
        contents = np.array([len(content) for content in self.of(part)[1]], np.int64)  # [3n]
        blocks = 1 + -(-contents // BLOCK)  # one is the header
        taken: NDArray[np.int64] = BLOCK * blocks.reshape(-1, 3).sum(axis=1)
        return taken

    def _json(self, row: SampleRow) -> bytes:
        """A line of JSON; what all samples of a cell share was written once."""
        own = (
            f'"index":{row.sample},"candidate":{row.candidate},'
            f'"file_sha256":"{row.file_sha256.hex()}","pixel_sha256":"{row.pixel_sha256.hex()}"'
        )
        if self._variants is not None:
            first, variant = self._variants.of(row.sample)
            own += f',"variant_of":{first},"variant":{variant}'
        return f"{self._facts[row.cell]},{own}}}".encode()


def _facts(plan: Plan, cell: int) -> str:
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
    return json.dumps(shared, ensure_ascii=False, separators=(",", ":"))[:-1]
