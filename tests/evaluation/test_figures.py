"""The figures of images: which images, in which rows, under which words."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from srae_dist.evaluation import grids
from srae_dist.evaluation.figures import BLOCKS, COLUMNS, figures, spread
from srae_dist.evaluation.grids import AIR, EDGE, GAP, HEADING

PLACE = 96 + GAP  # of an image of 32 pixels


def flat(level: int, count: int) -> NDArray[np.uint8]:
    """Images of one grey level each, a step apart."""
    levels = (level + np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, 32, 32, 3)).copy()


def level(picture: NDArray[np.uint8], row: int, column: int, *, top: int, left: int = GAP) -> int:
    """Grey level of a picture's image; ``top`` pixels are above the first row."""
    return int(picture[top + row * PLACE + 48, left + column * PLACE + 48, 0])


def test_two_domains_are_shown_as_the_paper_does() -> None:
    real, made = [flat(0, 18), flat(40, 18)], [flat(80, 18), flat(120, 18)]
    section = figures(
        ("human", "anime"),
        real=real,
        reconstructed=made,
        translated={(0, 1): flat(160, 18), (1, 0): flat(200, 18)},
    )
    names = [picture.name for picture in section.pictures]
    assert names == [
        "reconstructions",
        "translations-human-to-anime",
        "translations-anime-to-human",
    ]
    first, there, back = (np.asarray(picture.image) for picture in section.pictures)
    assert first.shape[1] == GAP + EDGE + COLUMNS * PLACE
    left = GAP + EDGE
    second_domain = HEADING + 2 * BLOCKS * PLACE + (BLOCKS - 1) * AIR + HEADING
    for column in range(COLUMNS):  # odd rows truth, even rows output
        assert level(first, 0, column, top=HEADING, left=left) == column
        assert level(first, 1, column, top=HEADING, left=left) == 80 + column
        assert level(first, 2, column, top=HEADING + AIR, left=left) == COLUMNS + column
        assert level(first, 1, column, top=second_domain, left=left) == 120 + column
        assert level(there, 0, column, top=HEADING, left=left) == column
        assert level(there, 1, column, top=HEADING, left=left) == 160 + column
        assert level(back, 0, column, top=HEADING, left=left) == 40 + column
        assert level(back, 1, column, top=HEADING, left=left) == 200 + column
    assert first[:HEADING].min() < 60  # the heading is written
    for row in (0, 1):  # and what each row is
        strip = first[HEADING + row * PLACE : HEADING + (row + 1) * PLACE - GAP, :left]
        assert strip.min() < 150


def test_many_domains_show_a_row_each() -> None:
    m = 4
    translated = {(s, t): flat(100 + 20 * s + t, 7) for s in range(m) for t in range(m) if s != t}
    domains = tuple("abcd")
    real = [flat(10 * s, 7) for s in range(m)]
    section = figures(domains, real=real, reconstructed=real, translated=translated)
    assert [picture.name for picture in section.pictures[1:]] == [
        f"translations-{name}-to-others" for name in domains
    ]
    picture = np.asarray(section.pictures[2].image)  # of b: b itself, then a, c and d
    step = HEADING + PLACE
    assert level(picture, 0, 0, top=HEADING) == 10
    for row, t in enumerate((0, 2, 3), start=1):
        assert level(picture, 0, 0, top=HEADING + row * step) == 120 + t
    assert section.values["shown"]["b"] == [0, 1, 2, 4, 5, 6]


@pytest.mark.parametrize(("count", "wanted"), [(1, 6), (5, 6), (6, 6), (1000, 18)])
def test_images_are_spread_over_all_there_are(count: int, wanted: int) -> None:
    places = spread(count, wanted)
    assert len(places) == min(count, wanted)
    assert places[0] == 0
    assert places[-1] == count - 1
    assert len(np.unique(places)) == len(places)


def test_a_short_block_leaves_its_places_empty() -> None:
    drawn = np.asarray(grids.stacked([("a", [[flat(10, 3)], [flat(20, 1)]])]))
    assert drawn.shape[:2] == (GAP + HEADING + 2 * PLACE + AIR, GAP + 3 * PLACE)
    assert (drawn[HEADING + PLACE + AIR :, GAP + PLACE :] == 255).all()
