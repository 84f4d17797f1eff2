"""The paper's Fig. 7: a query at the left, its nearest images beside it, what they are below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 128  # pixels that small images are enlarged to, about: by a whole factor
GAP, AIR = 8, 20  # pixels between images, and between a query and what was found
LINE = 17  # pixels of a line of text
FONT = 13
BACKGROUND, INK, FAINT = (255, 255, 255), (30, 30, 30), (110, 110, 110)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Tile:
    """An image, and the two lines below it."""

    pixels: NDArray[np.uint8]  # H W 3
    title: str
    remark: str


def neighbour_picture(rows: Sequence[tuple[Tile, Sequence[Tile]]]) -> Image.Image:
    """Draw a row for each query: the query, then its neighbours, nearest first.

    All images must have one size.
    """
    height, width = rows[0][0].pixels.shape[:2]
    factor = max(1, round(CELL / width))
    cell_w, cell_h = width * factor, height * factor
    row_h = cell_h + 2 * LINE + AIR
    columns = max(len(found) for _, found in rows)
    size = (2 * GAP + cell_w + AIR + columns * (cell_w + GAP), len(rows) * row_h + GAP)
    canvas = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=FONT)

    def put(tile: Tile, left: int, top: int) -> None:
        image = Image.fromarray(tile.pixels)
        canvas.paste(image.resize((cell_w, cell_h), Image.Resampling.NEAREST), (left, top))
        for number, (text, ink) in enumerate(((tile.title, INK), (tile.remark, FAINT))):
            place = (left, top + cell_h + 2 + number * LINE)
            draw.text(place, shortened(text, font, cell_w), fill=ink, font=font)

    for number, (query, found) in enumerate(rows):
        top = GAP + number * row_h
        put(query, GAP, top)
        middle = GAP + cell_w + AIR // 2
        draw.line((middle, top, middle, top + cell_h), fill=FAINT)
        for column, tile in enumerate(found):
            put(tile, GAP + cell_w + AIR + column * (cell_w + GAP), top)
    return canvas


def shortened(text: str, font: Font, width: int) -> str:
    """Take letters out of the middle until a text fits: both ends of a key tell it apart."""
    short = text
    for kept in range(min(len(text), width) - 1, 0, -1):
        if font.getlength(short) <= width:
            break
        end = (kept + 1) // 2
        short = f"{text[: kept - end]}\N{HORIZONTAL ELLIPSIS}{text[-end:]}"
    return short
