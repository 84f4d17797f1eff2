"""The built-in faces: one row is one face, in four domains that no change of colour connects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from srae_dist.core.errors import UserError
from srae_dist.data.faces import DOMAINS, FACTORS, MEANING, render, sample_factors
from srae_dist.data.faces.canvas import Canvas
from srae_dist.data.faces.factors import Factors

_SIGNED = FACTORS[: FACTORS.index("light") + 1]


def _plain_face() -> NDArray[np.float32]:
    """The middle of every range, but lit from the left so that light has a side to change."""
    row = np.asarray([0.0 if name in _SIGNED else 0.5 for name in FACTORS], np.float32)
    row[FACTORS.index("light")] = -0.5
    return row[None]


def test_every_factor_has_a_name_a_meaning_and_a_range() -> None:
    rows = sample_factors(4096, seed=3)
    assert rows.shape == (4096, len(FACTORS))
    assert rows.dtype == np.float32
    assert Factors._fields == FACTORS == tuple(MEANING)
    low = np.asarray([-1.0 if name in _SIGNED else 0.0 for name in FACTORS])
    assert np.allclose(rows.min(axis=0), low, atol=0.01)
    assert np.allclose(rows.max(axis=0), 1.0, atol=0.01)
    spread = (rows - low) / (1.0 - low)
    assert np.allclose(spread.mean(axis=0), 0.5, atol=0.03)  # uniform
    assert np.abs(np.corrcoef(rows.T) - np.eye(len(FACTORS))).max() < 0.08  # and unrelated


@given(st.integers(0, 200), st.integers(0, 60), st.integers(0, 2**40))
def test_any_slice_can_be_drawn_alone(start: int, count: int, seed: int) -> None:
    whole = sample_factors(260, seed=seed)
    part = sample_factors(count, seed=seed, start=start)
    assert np.array_equal(part, whole[start : start + count])


def test_seeds_differ() -> None:
    assert not np.array_equal(sample_factors(4, seed=1), sample_factors(4, seed=2))


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("size", [32, 64, 96])
def test_pictures_are_bytes_of_the_asked_size(domain: str, size: int) -> None:
    pictures = render(sample_factors(3, seed=0), domain, size=size)
    assert pictures.shape == (3, size, size, 3)
    assert pictures.dtype == np.uint8
    assert pictures.flags.c_contiguous
    assert pictures.std() > 20  # something is drawn
    assert render(sample_factors(0, seed=0), domain, size=size).shape == (0, size, size, 3)


def test_an_unknown_domain_is_a_user_error_that_helps() -> None:
    with pytest.raises(UserError, match=r"'anmie'.*photo, anime, pencil, clay.*mean 'anime'"):
        render(sample_factors(1, seed=0), "anmie")


@pytest.mark.parametrize("domain", DOMAINS)
@settings(max_examples=6, deadline=None)
@given(st.permutations(range(35)), st.integers(1, 35))
def test_a_row_has_the_same_bytes_in_any_company(domain: str, order: list[int], count: int) -> None:
    rows = sample_factors(35, seed=11)  # more than two chunks
    chosen = order[:count]
    assert np.array_equal(render(rows[chosen], domain), render(rows, domain)[chosen])


@pytest.mark.parametrize("domain", DOMAINS)
def test_each_picture_alone_equals_the_batch(domain: str) -> None:
    rows = sample_factors(9, seed=4)
    alone = np.concatenate([render(row[None], domain) for row in rows])
    assert np.array_equal(alone, render(rows, domain))


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("factor", FACTORS)
def test_every_factor_shows_in_every_domain(domain: str, factor: str) -> None:
    column = FACTORS.index(factor)
    low, high = _plain_face(), _plain_face()
    low[:, column], high[:, column] = (-1.0 if factor in _SIGNED else 0.0), 1.0
    change = np.abs(render(low, domain).astype(int) - render(high, domain)).max(axis=-1)
    assert (change > 24).sum() >= 20  # pixels that anyone can tell apart
    assert change.mean() > 0.4  # levels, over the whole picture


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("factor", FACTORS)
def test_a_small_change_of_a_factor_is_a_small_change_of_the_picture(
    domain: str, factor: str
) -> None:
    column = FACTORS.index(factor)
    rows = np.repeat(sample_factors(4, seed=6) * 0.9, 2, axis=0)
    rows[1::2, column] += 0.01
    pictures = render(rows, domain).astype(float)
    assert np.abs(pictures[1::2] - pictures[::2]).mean(axis=(1, 2, 3)).max() < 1.5


@pytest.mark.parametrize("domain", DOMAINS)
def test_pencil_alone_is_grey(domain: str) -> None:
    pictures = render(sample_factors(16, seed=2), domain).astype(int)
    colourful = np.ptp(pictures, axis=3).mean()
    assert colourful < 14 if domain == "pencil" else colourful > 25


@pytest.mark.parametrize("source", DOMAINS)
@pytest.mark.parametrize("target", DOMAINS)
def test_no_colour_map_is_the_translation(source: str, target: str) -> None:
    if source == target:
        return
    rows = sample_factors(48, seed=9)
    x = render(rows, source).reshape(-1, 3).astype(float)
    y = render(rows, target).reshape(-1, 3).astype(float)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    best, *_ = np.linalg.lstsq(x, y, rcond=None)
    left = np.sqrt(((x @ best - y) ** 2).mean())
    pictures = y.reshape(48, -1)
    between = np.sqrt(((pictures[1:] - pictures[:-1]) ** 2).mean())  # two renders of the target
    assert left > 0.4 * between


@pytest.mark.parametrize("domain", DOMAINS)
def test_nothing_is_cut_at_the_borders_of_patches_and_crops(
    domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sample_factors(64, seed=8)
    middle = [0.0 if name in _SIGNED else 0.5 for name in FACTORS]
    rows = np.where(rows > middle, 1.0, rows)  # many factors at their ends at once
    expected = render(rows, domain)
    patch = Canvas.patch
    monkeypatch.setattr(Canvas, "crop", lambda canvas, *_: canvas)
    monkeypatch.setattr(
        Canvas, "patch", lambda canvas, x, y, reach: patch(canvas, x, y, 1.4 * reach)
    )
    assert np.array_equal(render(rows, domain), expected)


def test_factors_that_went_through_json_draw_the_same_picture() -> None:
    rows = sample_factors(2, seed=1)
    back = np.asarray([[json.loads(json.dumps(value)) for value in row] for row in rows.tolist()])
    assert np.array_equal(render(back, "clay"), render(rows, "clay"))
