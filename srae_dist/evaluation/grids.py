"""Picture grids as the paper shows them: rows of images under a caption each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from srae_dist.evaluation.neighbour_picture import shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]  # N H W 3

GAP = 2  # pixels between images
AIR = 6  # more pixels above a new group of rows
CAPTION = 128  # pixels of the caption column
HEADING = 38  # pixels of the line above a group
EDGE = 20  # pixels of the edge that rows' names are written along
CELL = 96  # pixels that small images are enlarged to, about: by a whole factor
BACKGROUND, INK, FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)


def grid(rows: Sequence[tuple[str, Pixels]]) -> Image.Image:
    """Draw captioned rows of images of one size, enlarged to be seen.

    Args:
        rows: (caption, images N H W 3) from top to bottom; a caption that starts with a dot
            is set fainter, without it, and its row is drawn close to the one above.
    """
    cell_w, cell_h = _cell(rows[0][1])
    columns = max(len(images) for _, images in rows)
    tops = _tops([caption for caption, _ in rows], cell_h)
    canvas = Image.new("RGB", (CAPTION + columns * cell_w, tops[-1] + cell_h), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=15)
    for (caption, images), top in zip(rows, tops, strict=True):
        ink = FAINT if caption.startswith("·") else INK
        text = caption.removeprefix("·").lstrip()  # the font has no dot
        draw.text((8, top + cell_h // 2), text, fill=ink, font=font, anchor="lm")
        _paste(canvas, images, left=CAPTION, top=top)
    return canvas


def stacked(
    groups: Sequence[tuple[str, Sequence[Sequence[Pixels]]]], *, names: Sequence[str] = ()
) -> Image.Image:
    """Draw rows of images under headings: no caption column, so that it fills a phone's width.

    Args:
        groups: (heading, blocks) from top to bottom; a block is rows that belong together, each
            N H W 3 of one size, and is set a little apart from the next.
        names: what a block's rows are, written upwards along their left edge; none: no edge.
    """
    rows = [row for _, blocks in groups for block in blocks for row in block]
    cell_w, cell_h = _cell(rows[0])
    air = sum(AIR * (len(blocks) - 1) for _, blocks in groups)
    edge = EDGE if names else 0
    width = GAP + edge + cell_w * max(map(len, rows))
    height = GAP + HEADING * len(groups) + cell_h * len(rows) + air
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=22)
    top = 0
    for heading, blocks in groups:
        draw.text((GAP + 1, top + HEADING // 2), heading, fill=INK, font=font, anchor="lm")
        top += HEADING
        for place, block in enumerate(blocks):
            top += AIR * (place > 0)
            for number, row in enumerate(block):
                if names:
                    canvas.paste(_upwards(names[number], cell_h), (GAP, top))
                _paste(canvas, row, left=GAP + edge, top=top)
                top += cell_h
    return canvas


def _upwards(text: str, length: int) -> Image.Image:
    """Write a text from the bottom up, in the middle of a strip that is ``length`` high."""
    strip = Image.new("RGB", (length, EDGE), BACKGROUND)
    font = ImageFont.load_default(size=13)
    place = (length // 2, EDGE // 2)
    fitting = shortened(text, font, length)
    ImageDraw.Draw(strip).text(place, fitting, fill=FAINT, font=font, anchor="mm")
    return strip.transpose(Image.Transpose.ROTATE_90)


def _factor(images: Pixels) -> int:
    """How much larger images are drawn."""
    width: int = images.shape[2]
    return max(1, round(CELL / width))


def _cell(images: Pixels) -> tuple[int, int]:
    """Width and height of an image's place, the gap to the next included."""
    height, width = images.shape[1:3]
    return width * _factor(images) + GAP, height * _factor(images) + GAP


def _paste(canvas: Image.Image, images: Pixels, *, left: int, top: int) -> None:
    """Paste a row of images."""
    cell_w, cell_h = _cell(images)
    for column, pixels in enumerate(images):
        tile = Image.fromarray(pixels).resize(
            (cell_w - GAP, cell_h - GAP), Image.Resampling.NEAREST
        )
        canvas.paste(tile, (left + column * cell_w, top))


def reconstruction_rows(
    domains: Sequence[str], truth: Sequence[Pixels], output: Sequence[Pixels]
) -> list[tuple[str, Pixels]]:
    """Fig. 4: odd rows truth, even rows the reconstruction, a pair per domain."""
    rows: list[tuple[str, Pixels]] = []
    for name, images, reconstructed in zip(domains, truth, output, strict=True):
        rows += [(name, images), ("· reconstruction", reconstructed)]
    return rows


def translation_rows(
    domains: Sequence[str], sources: Sequence[Pixels], translated: Sequence[Sequence[Pixels]]
) -> list[tuple[str, Pixels]]:
    """Fig. 5 for every ordered pair: a row of sources, then a row per other domain.

    Args:
        translated: ``translated[s][t]`` are the sources of domain s in the style of domain t.
    """
    rows: list[tuple[str, Pixels]] = []
    for s, name in enumerate(domains):
        rows.append((name, sources[s]))
        rows += [(f"· as {domains[t]}", translated[s][t]) for t in range(len(domains)) if t != s]
    return rows


def _tops(captions: Sequence[str], cell: int) -> list[int]:
    """Top of each row; a little air above each new group."""
    tops, top = [], GAP
    for place, caption in enumerate(captions):
        if place and not caption.startswith("·"):
            top += AIR
        tops.append(top)
        top += cell
    return tops
