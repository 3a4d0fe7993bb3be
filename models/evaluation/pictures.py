"""Pictures of an evaluation: samples beside real images, the nearest pairs, the balance."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.corpus.corpus import Corpus
from models.evaluation.findings import Balance, Pair
from models.evaluation.sides import Sides
from models.evaluation.verdict import Findings
from models.files import write_atomically

Pixels = npt.NDArray[np.uint8]

COLUMNS: Final = 12
ROWS: Final = 3
CLASSES_SHOWN: Final = 50
PAIRS_A_ROW: Final = 8
SMALLEST: Final = 56
"""Images are enlarged, without smoothing, to about so many pixels."""
LARGEST: Final = 128
"""Larger images are shrunk to this."""
GAP, RIFT = 2, 10
PAPER: Final = (128, 128, 128)


def draw(folder: Path, sides: Sides, found: Findings, shares: Balance) -> dict[str, str]:
    """All pictures, into `folder`; by name: overview, class/NAME, copies, balance."""
    samples, real = sides.subject.corpus, sides.reference
    files = {"overview": "overview.png", "copies": "copies.png", "balance": "balance.png"}
    overview_sheet(folder / files["overview"], sides)
    pairs_sheet(folder / files["copies"], found.copies.worst, samples, sides.train)
    balance_chart(folder / files["balance"], shares)
    if not sides.subject.labelled:
        return files
    for label in np.flatnonzero(samples.counts)[:CLASSES_SHOWN]:
        name = f"class-{label:03d}.png"
        ours, theirs = (side.images[side.labels == label] for side in (samples, real))
        class_sheet(folder / name, ours, theirs)
        files[f"class/{samples.classes[label]}"] = name
    return files


def class_sheet(path: Path, synthetic: Pixels, real: Pixels) -> None:
    """Up to three rows of samples, a gap, and as many rows of real images."""
    _save(path, _stack([_grid(synthetic), _grid(real)]))


def overview_sheet(path: Path, sides: Sides) -> None:
    """One row a class: samples to the left, real images to the right.

    Of samples without labels: some of them, and some real images below.
    """
    synthetic, real = sides.subject.corpus, sides.reference
    if not sides.subject.labelled:
        order = np.random.default_rng(0).permutation(len(real))[: ROWS * COLUMNS]
        class_sheet(path, synthetic.images[: ROWS * COLUMNS], real.images[order])
        return
    half = COLUMNS // 2
    rows = []
    for label in np.flatnonzero(synthetic.counts)[:CLASSES_SHOWN]:
        images = [corpus.images[corpus.labels == label][:half] for corpus in (synthetic, real)]
        rows.append(_beside([_grid(some, half) for some in images]))
    _save(path, _stack(rows, GAP))


def pairs_sheet(path: Path, pairs: Sequence[Pair], samples: Corpus, train: Corpus) -> None:
    """The nearest pairs, eight a row: a sample, and the training image under it."""
    bands = []
    for start in range(0, len(pairs), PAIRS_A_ROW):
        some = pairs[start : start + PAIRS_A_ROW]
        above = samples.images[[pair.sample for pair in some]]
        below = train.images[[pair.training for pair in some]]
        bands.append(_grid(np.concatenate([above, below]), len(some)))
    _save(path, _stack(bands))


def balance_chart(path: Path, balance: Balance) -> None:
    """Counts of each class, and of each group, real and synthetic, as bars on one another."""
    from matplotlib.figure import Figure  # heavy, and needed here only

    rows = [*balance.classes[:CLASSES_SHOWN], *balance.groups[:CLASSES_SHOWN]][::-1]
    figure = Figure(figsize=(6.4, 0.8 + 0.28 * len(rows)), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    names, real = [row.name[:40] for row in rows], [row.real for row in rows]
    places = np.arange(len(rows))
    axes.barh(places, real, color="#4c78a8", label="real")
    axes.barh(places, [row.synthetic for row in rows], left=real, color="#f58518", label="samples")
    axes.set_yticks(places, names, parse_math=False)
    axes.set_xlabel("images")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    write_atomically(path, drawn.getvalue())


def _grid(images: Pixels, columns: int = COLUMNS) -> Pixels:
    """uint8 [N, H, W, C] -> uint8 [h, w, 3], at most three rows."""
    pictures = [_picture(image) for image in images[: columns * ROWS]]
    if not pictures:
        return np.full((1, 1, 3), PAPER, np.uint8)
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), PAPER, "u1")
    for place, picture in enumerate(pictures):
        top, left = place // columns * (height + GAP), place % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _picture(image: Pixels) -> Pixels:
    """uint8 [H, W, C] -> uint8 [h, w, 3] at a size that can be looked at."""
    plane = image[:, :, 0] if image.shape[2] == 1 else image
    picture = Image.fromarray(np.ascontiguousarray(plane))
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (*PAPER, 255)), picture)
    picture = picture.convert("RGB")
    side = max(picture.size)
    if side > LARGEST:
        picture.thumbnail((LARGEST, LARGEST))
    else:
        scale = max(1, SMALLEST // side)
        size = picture.width * scale, picture.height * scale
        picture = picture.resize(size, Image.Resampling.NEAREST)
    return np.asarray(picture)


def _stack(bands: Sequence[Pixels], gap: int = RIFT) -> Pixels:
    """Bands under one another, `gap` pixels between."""
    width = max(band.shape[1] for band in bands)
    parts = []
    for band in bands:
        filled = np.full((band.shape[0] + gap, width, 3), PAPER, np.uint8)
        filled[: band.shape[0], : band.shape[1]] = band
        parts.append(filled)
    return np.concatenate(parts)[:-gap]


def _beside(bands: Sequence[Pixels]) -> Pixels:
    return np.swapaxes(_stack([np.swapaxes(band, 0, 1) for band in bands]), 0, 1)


def _save(path: Path, sheet: Pixels) -> None:
    drawn = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(sheet)).save(drawn, "PNG")
    write_atomically(path, drawn.getvalue())
