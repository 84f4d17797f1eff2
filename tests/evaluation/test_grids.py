"""Picture grids: sizes, places, captions, and every ordered pair."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srae_dist.evaluation import grids
from srae_dist.evaluation.grids import AIR, CAPTION, GAP

WHITE = 255


def flat(level: int, count: int = 2, size: int = 32) -> NDArray[np.uint8]:
    """Images of one grey level each, a step apart."""
    levels = (level + np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, size, size, 3)).copy()


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image)


@pytest.mark.parametrize(("size", "shown"), [(32, 96), (64, 128), (96, 96), (128, 128), (256, 256)])
def test_small_images_are_enlarged_by_a_whole_factor(size: int, shown: int) -> None:
    image = grids.grid([("a", flat(10, 3, size))])
    assert image.size == (CAPTION + 3 * (shown + GAP), GAP + shown + GAP)
    assert image.mode == "RGB"


def test_every_image_is_where_it_belongs() -> None:
    rows = [("photo", flat(10, 3)), ("· as anime", flat(50, 3)), ("anime", flat(90, 3))]
    drawn = pixels(grids.grid(rows))
    tops = [GAP, GAP + 98, GAP + 2 * 98 + AIR]  # the second row is close, the third apart
    for (_, images), top in zip(rows, tops, strict=True):
        for column, tile in enumerate(images):
            left = CAPTION + column * 98
            cell = drawn[top : top + 96, left : left + 96]
            assert (cell == tile[0, 0, 0]).all()
            assert (drawn[top : top + 96, left + 96 : left + 98] == WHITE).all()
            assert (drawn[top + 96 : top + 98, left : left + 96] == WHITE).all()


def test_enlarging_keeps_pixels_sharp() -> None:
    tile = np.zeros((1, 32, 32, 3), np.uint8)
    tile[0, 5, 7] = (200, 100, 50)
    drawn = pixels(grids.grid([("a", tile)]))[GAP:, CAPTION:]
    assert (drawn[15:18, 21:24] == (200, 100, 50)).all()
    assert (drawn[:96, :96].reshape(-1, 3) == (200, 100, 50)).all(axis=1).sum() == 9


def test_captions_are_drawn_and_those_below_are_fainter() -> None:
    drawn = pixels(grids.grid([("photo", flat(10)), ("· photo", flat(10))]))
    darkest = [drawn[top : top + 96, :CAPTION].min() for top in (GAP, GAP + 98)]
    assert darkest[0] < 60 < darkest[1] < WHITE


def test_the_dot_that_marks_a_caption_is_not_drawn() -> None:
    marked, plain = (pixels(grids.grid([(text, flat(10))])) for text in ("· photo", "photo"))
    assert ((marked < WHITE) == (plain < WHITE)).all()


def test_a_long_caption_stays_out_of_the_images() -> None:
    drawn = pixels(grids.grid([("a very long name of a domain" * 3, flat(10))]))
    assert (drawn[GAP : GAP + 96, CAPTION : CAPTION + 96] == 10).all()


def test_a_short_row_leaves_its_places_empty() -> None:
    drawn = pixels(grids.grid([("a", flat(10, 3)), ("b", flat(20, 1))]))
    top = GAP + 98 + AIR
    assert (drawn[top : top + 96, CAPTION + 98 :] == WHITE).all()
    upside_down = grids.grid([("b", flat(20, 1)), ("a", flat(10, 3))])
    assert upside_down.size == (drawn.shape[1], drawn.shape[0])  # wide enough for the longest


def test_reconstructions_lie_under_their_truth() -> None:
    truth, output = [flat(10), flat(20)], [flat(30), flat(40)]
    rows = grids.reconstruction_rows(["photo", "anime"], truth, output)
    captions = ["photo", "· reconstruction", "anime", "· reconstruction"]
    assert [caption for caption, _ in rows] == captions
    assert [int(images[0, 0, 0, 0]) for _, images in rows] == [10, 30, 20, 40]


@pytest.mark.parametrize("m", [2, 3, 4])
def test_every_ordered_pair_is_shown_once(m: int) -> None:
    names = [f"d{i}" for i in range(m)]
    sources = [flat(10 * s) for s in range(m)]
    translated = [[flat(100 + 10 * s + t) for t in range(m)] for s in range(m)]
    rows = grids.translation_rows(names, sources, translated)
    assert len(rows) == m * m  # a source and m - 1 translations for each
    pairs, source = [], ""
    for caption, images in rows:
        level = int(images[0, 0, 0, 0])
        if caption.startswith("·"):
            target = caption.removeprefix("· as ")
            pairs.append((source, target))
            assert level == 100 + 10 * names.index(source) + names.index(target)
        else:
            source = caption
            assert level == 10 * names.index(source)
    assert sorted(pairs) == [(a, b) for a in names for b in names if a != b]


def test_equal_rows_are_equal_bytes() -> None:
    rows = [("photo", flat(10)), ("· as anime", flat(50))]
    assert grids.grid(rows).tobytes() == grids.grid(rows).tobytes()
