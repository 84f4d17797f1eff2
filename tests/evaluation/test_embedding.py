"""t-SNE of codes: what is placed, that it repeats, and what the pictures show."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageColor

from srae_dist.core.errors import UserError
from srae_dist.core.randomness import generator
from srae_dist.evaluation import embedding as module
from srae_dist.evaluation.embedding import (
    codes_of,
    drawn,
    embed,
    embedding,
    panel,
    same_share,
    side_by_side,
)
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.palette import CONTENT, DOMAIN, style_of
from srae_dist.evaluation.scatter import draw
from srae_dist.evaluation.tsne import _principal, fitting_perplexity, tsne

EACH = 20


def encoded(*, labels: dict[str, list[str]] | None = None) -> Encoded:
    """Two domains of 20 images: domain codes apart, content codes mixed."""
    source = generator(0, "codes")
    domain = np.repeat([0, 1], EACH)
    codes = source.standard_normal((2 * EACH, 3)) + 8.0 * domain[:, None]
    return Encoded(
        pixels=np.zeros((2 * EACH, 4, 4, 3), np.uint8),
        content=source.standard_normal((2 * EACH, 2, 2, 2)).astype(np.float32),
        domain_code=codes.astype(np.float32),
        domain=domain,
        keys=tuple(f"k{n}" for n in range(2 * EACH)),
        domains=("human", "anime"),
        labels={name: np.array(values) for name, values in (labels or {}).items()},
        factors={},
    )


def test_tsne_repeats_and_depends_on_codes() -> None:
    codes = generator(0, "x").standard_normal((30, 60))
    first = tsne(codes, perplexity=5)
    assert first.shape == (30, 2)
    np.testing.assert_array_equal(first, tsne(codes, perplexity=5))
    apart = tsne(np.concatenate([codes, codes[:10] + 40.0]), perplexity=5)
    groups = np.repeat([0, 1], [30, 10])
    assert same_share(apart, groups, neighbours=5) == 1.0


def test_principal_components_keep_distances() -> None:
    for shape in ((20, 5), (12, 40)):  # more vectors than numbers, and fewer
        codes = generator(0, "x").standard_normal(shape)
        turned = _principal(codes)
        assert turned.shape == (shape[0], min(shape[1], len(codes)))
        found, expected = (np.linalg.norm(c[0] - c[1:], axis=1) for c in (turned, codes))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        spread = turned.std(axis=0)
        assert (np.diff(spread) <= 1e-9).all()  # the largest first


def test_codes_that_are_constant_or_one_number_are_placed() -> None:
    assert np.isfinite(tsne(np.ones((10, 5)))).all()
    assert np.isfinite(tsne(np.arange(12.0)[:, None])).all()


def test_perplexity_fits_the_images() -> None:
    assert fitting_perplexity(1000, 30.0) == 30.0
    assert fitting_perplexity(31, 30.0) == 10.0
    with pytest.raises(UserError, match="8 images"):
        fitting_perplexity(7, 30.0)
    with pytest.raises(UserError, match="above 1"):
        fitting_perplexity(100, 1.0)
    with pytest.raises(UserError, match="above 1"):
        fitting_perplexity(100, float("nan"))


def test_both_codes_are_as_far_apart_as_what_the_decoder_sees() -> None:
    images = encoded()
    codes = codes_of(images)
    repeated = np.broadcast_to(images.domain_code[:, :, None, None], (2 * EACH, 3, 2, 2))
    seen = np.concatenate([images.content, repeated], axis=1).reshape(2 * EACH, -1)
    np.testing.assert_allclose(
        np.linalg.norm(codes["both"][0] - codes["both"][1:], axis=1),
        np.linalg.norm(seen[0] - seen[1:], axis=1),
        rtol=1e-5,
    )


def test_share_of_the_own_group() -> None:
    points = np.array([[0, 0], [0, 1], [9, 0], [9, 1]], np.float32)
    assert same_share(points, np.array(["a", "a", "b", "b"]), neighbours=1) == 1.0
    assert same_share(points, np.array(["a", "b", "a", "b"]), neighbours=1) == 0.0
    assert same_share(points, np.array(["a", "a", "b", "b"])) == pytest.approx(1 / 3)  # all others


def test_the_section_tells_what_mixes_and_what_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw", lambda _: Image.new("RGB", (1, 1)))  # takes its time
    digits = [str(n % 2) for n in range(2 * EACH)]
    few, many = ["", *digits[1:]], [str(n) for n in range(2 * EACH)]
    section = embedding(encoded(labels={"digit": few, "name": many}), perplexity=5, split="val")
    same = section.values["same_domain"]
    assert same["domain"] == 1.0
    assert same["content"] < 0.7
    assert same["chance"] == pytest.approx(19 / 39)
    assert "same_digit" in section.values
    assert "same_name" not in section.values  # as many values as images show nothing
    assert section.values["images"] == {"human": EACH, "anime": EACH}
    names = [picture.name for picture in section.pictures]
    kinds = ("content", "domain", "both")
    assert names == [f"tsne-{kind}{by}" for by in ("", "-by-digit") for kind in kinds]
    assert all("val" in picture.caption for picture in section.pictures)
    json.dumps(section.values, allow_nan=False)


def has(image: Image.Image, colour: str) -> bool:
    pixels = np.asarray(image).reshape(-1, 3).astype(int)
    return bool((np.abs(pixels - ImageColor.getrgb(colour)).max(axis=1) < 3).sum() > 20)


def test_pictures_show_both_domains_under_the_codes_colour() -> None:
    found = embed(encoded(), perplexity=5)
    wide = side_by_side(found)
    assert wide.width == 3 * 900
    for number in range(2):
        assert has(wide, style_of(number)[0])  # in the legend, opaque
    assert has(wide.crop((0, 0, 900, 900)), CONTENT)
    assert has(wide.crop((900, 0, 1800, 900)), DOMAIN)
    assert not has(wide.crop((0, 0, 890, 900)), DOMAIN)
    assert wide.tobytes() == side_by_side(found).tobytes()
    table = found.rows()
    assert len(table["points"]["content"]) == len(table["keys"]) == 2 * EACH


def test_as_many_of_every_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw", lambda _: Image.new("RGB", (1, 1)))
    images = encoded().take(np.arange(2 * EACH) < EACH + 5)
    few = drawn(images, per_domain=8)
    assert np.bincount(few.domain).tolist() == [8, 5]
    assert few.keys == drawn(images, per_domain=8).keys
    assert list(few.keys) == sorted(few.keys, key=images.keys.index)
    assert embedding(images, most=16, perplexity=3).values["images"] == {"human": 8, "anime": 5}


def test_every_group_has_a_look_of_its_own() -> None:
    assert len({style_of(number) for number in range(40)}) == 40
    assert module.MOST_LABELS <= 40


def test_names_in_a_legend_are_no_formulas() -> None:
    names = ["$\\foo$", "costs $5 & under $9", "_hidden"]
    found = embed(encoded(labels={"price": [names[n % 3] for n in range(2 * EACH)]}), perplexity=5)
    groups = found.encoded.labels["price"]
    renamed = np.char.replace(groups, "_hidden", "_buried")
    shown = draw([panel(found, "content", groups, names)])
    other = draw([panel(found, "content", renamed, [*names[:2], "_buried"])])
    assert shown.size == other.size
    assert shown.tobytes() != other.tobytes()  # the last name is there to be read
