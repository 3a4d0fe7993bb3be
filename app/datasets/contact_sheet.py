"""A contact sheet: images of each class in one labelled row, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Row = tuple[str, Sequence[NDArray[np.uint8]]]

PAPER = (250, 250, 248)
MOUNT = (232, 232, 228)
INK = (38, 38, 42)
FAINT = (128, 128, 134)

GAP = 4
ROW_GAP = 8
MARGIN = 20
LABEL_POINTS = 15
TITLE_POINTS = 18
LABEL_WIDTH_LIMIT = 220
SIDE_LIMIT = 16_000


def contact_sheet(rows: Sequence[Row], scale: int = 2, title: str = "") -> bytes:
    """Draws one row a class: its name on the left, its images beside it.

    Images are uint8 [H, W, C] with 1, 3 or 4 channels and may differ in size; each is
    enlarged `scale` times without smoothing, so that what is seen is what was made.
    A class that has fewer images than the others shows the gap.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    if scale < 1:
        raise ValueError("scale must be 1 or more")
    pictures = [[_picture(image, scale) for image in images] for _, images in rows]
    layout = _lay_out([name for name, _ in rows], pictures, bool(title))
    sheet = Image.new("RGB", (layout.width, layout.height), PAPER)
    if title:
        _write_title(sheet, title)
    for number in range(len(rows)):
        _draw_row(sheet, layout, number, pictures[number])
    return _png(sheet)


def _picture(image: NDArray[np.uint8], scale: int) -> Image.Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"contact sheet images are uint8 [H, W, 1, 3 or 4], not {image.dtype} {image.shape}"
        )
    plane = image[:, :, 0] if image.shape[2] == 1 else image
    picture = Image.fromarray(np.ascontiguousarray(plane))
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, PAPER), picture)
    size = picture.width * scale, picture.height * scale
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST)


@dataclass(frozen=True)
class _Layout:
    """Where things go, in pixels of the sheet."""

    labels: list[str]
    label_right: int
    left: int
    top: int
    columns: int
    cell_width: int
    row_height: int

    @property
    def width(self) -> int:
        return self.left + self.columns * (self.cell_width + GAP) - GAP + MARGIN

    @property
    def height(self) -> int:
        return self.top + len(self.labels) * (self.row_height + ROW_GAP) - ROW_GAP + MARGIN


def _lay_out(names: list[str], pictures: list[list[Image.Image]], titled: bool) -> _Layout:
    font = ImageFont.load_default(LABEL_POINTS)
    labels = [_fitted(name, font, LABEL_WIDTH_LIMIT) for name in names]
    label_right = MARGIN + max(int(font.getlength(label)) + 1 for label in labels)
    everything = [picture for row in pictures for picture in row]
    layout = _Layout(
        labels=labels,
        label_right=label_right,
        left=label_right + 2 * ROW_GAP,
        top=MARGIN + (TITLE_POINTS + 2 * ROW_GAP if titled else 0),
        columns=max(1, max(len(row) for row in pictures)),
        cell_width=max((picture.width for picture in everything), default=LABEL_POINTS),
        row_height=max([LABEL_POINTS + 4, *(picture.height for picture in everything)]),
    )
    if max(layout.width, layout.height) > SIDE_LIMIT:
        raise ValueError(
            f"a contact sheet of {layout.width} x {layout.height} pixels is too large; show fewer"
        )
    return layout


def _write_title(sheet: Image.Image, title: str) -> None:
    font = ImageFont.load_default(TITLE_POINTS)
    fitted = _fitted(title, font, sheet.width - 2 * MARGIN)
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN), fitted, font=font, fill=INK, anchor="lt")


def _draw_row(
    sheet: Image.Image, layout: _Layout, number: int, pictures: list[Image.Image]
) -> None:
    draw = ImageDraw.Draw(sheet)
    y = layout.top + number * (layout.row_height + ROW_GAP)
    draw.text(
        (layout.label_right, y + layout.row_height // 2),
        layout.labels[number],
        font=ImageFont.load_default(LABEL_POINTS),
        fill=INK if pictures else FAINT,
        anchor="rm",
    )
    for column in range(layout.columns):
        x = layout.left + column * (layout.cell_width + GAP)
        edge = x + layout.cell_width - 1, y + layout.row_height - 1
        draw.rectangle((x, y, *edge), fill=MOUNT)
        if column < len(pictures):
            picture = pictures[column]
            inset = (layout.cell_width - picture.width) // 2
            drop = (layout.row_height - picture.height) // 2
            sheet.paste(picture, (x + inset, y + drop))


def _fitted(text: str, font: Any, width_limit: int) -> str:
    """The text on one line, shortened with an ellipsis until it fits."""
    line = "".join(character if character.isprintable() else " " for character in text[:200])
    line = line.strip() or "(no name)"
    if font.getlength(line) <= width_limit:
        return line
    while line and font.getlength(line + "…") > width_limit:
        line = line[:-1]
    return line.rstrip() + "…"


def _png(sheet: Image.Image) -> bytes:
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
