"""Several contact sheets as one picture, each under its number."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

COLUMNS = 4
GAP = 16
CAPTION = 28
PAPER, INK = (250, 250, 248), (38, 38, 42)


def side_by_side(pictures: Sequence[tuple[str, bytes]]) -> bytes:
    """PNG of captions and PNG pictures, at most four in a row."""
    opened = [(caption, Image.open(io.BytesIO(png)).convert("RGB")) for caption, png in pictures]
    width = max((picture.width for _, picture in opened), default=1) + GAP
    height = max((picture.height for _, picture in opened), default=1) + GAP + CAPTION
    columns = min(COLUMNS, max(1, len(opened)))
    rows = max(1, -(-len(opened) // columns))
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(20)
    for number, (caption, picture) in enumerate(opened):
        left = GAP + number % columns * width
        top = GAP + number // columns * height
        draw.text((left, top), caption, INK, font)
        sheet.paste(picture, (left, top + CAPTION))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
