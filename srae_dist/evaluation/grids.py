"""Picture grids as the paper shows them: rows of images under a caption each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]  # N H W 3

GAP = 2  # pixels between images
AIR = 6  # more pixels above a new group of rows
CAPTION = 128  # pixels of the caption column
CELL = 96  # pixels that small images are enlarged to, about: by a whole factor
BACKGROUND, INK, FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)


def grid(rows: Sequence[tuple[str, Pixels]]) -> Image.Image:
    """Draw captioned rows of images of one size, enlarged to be seen.

    Args:
        rows: (caption, images N H W 3) from top to bottom; a caption that starts with a dot
            is set fainter and its row is drawn close to the one above.
    """
    height, width = rows[0][1].shape[1:3]
    factor = max(1, round(CELL / width))
    cell_w, cell_h = width * factor + GAP, height * factor + GAP
    columns = max(len(images) for _, images in rows)
    tops = _tops([caption for caption, _ in rows], cell_h)
    canvas = Image.new("RGB", (CAPTION + columns * cell_w, tops[-1] + cell_h), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=15)
    for (caption, images), top in zip(rows, tops, strict=True):
        ink = FAINT if caption.startswith("·") else INK
        draw.text((8, top + cell_h // 2), caption, fill=ink, font=font, anchor="lm")
        for column, pixels in enumerate(images):
            tile = Image.fromarray(pixels).resize(
                (width * factor, height * factor), Image.Resampling.NEAREST
            )
            canvas.paste(tile, (CAPTION + column * cell_w, top))
    return canvas


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
