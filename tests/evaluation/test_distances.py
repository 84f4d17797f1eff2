"""Distances of translations, between the best and the worst that could be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from srae_dist.core.randomness import generator
from srae_dist.evaluation.distances import Images, distances
from srae_dist.evaluation.features import Pixels, Vectors
from srae_dist.evaluation.statistics import fid, kid

DOMAINS = ("human", "anime")


class Colours:
    """Mean colour of an image's halves, in the place of a network."""

    key, name, weights = "vgg", "colours-halves-mean", "none"

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, pixels: Pixels) -> Vectors:
        self.seen += len(pixels)
        halves = pixels.reshape(len(pixels), 2, -1, 3).mean(axis=2)
        return np.asarray(halves.reshape(len(pixels), -1) / 64.0, np.float32)


class Difference:
    """Mean absolute error, in the place of LPIPS."""

    key, name, weights = "lpips", "difference", "none"

    def __call__(self, first: Pixels, second: Pixels) -> NDArray[np.float32]:
        return np.asarray(np.abs(first.astype(np.float32) - second).mean(axis=(1, 2, 3)))


def draw(count: int, level: int, *name: str | int) -> Pixels:
    """Images whose colours scatter around a level."""
    source = generator(0, "draw", level, *name)
    base = source.normal(level, 12, (count, 2, 1, 3))
    return (base + source.normal(0, 4, (count, 2, 2, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def images() -> Images:
    real = [draw(60, 80, "real"), draw(40, 160, "real")]
    return Images(
        real=real,
        train=[draw(60, 80, "train"), draw(60, 160, "train")],
        reconstructed=[(pixels * 0.95).astype(np.uint8) for pixels in real],
        translated={(0, 1): draw(60, 145, "translated"), (1, 0): draw(40, 95, "translated")},
    )


def test_translations_lie_between_floor_and_ceiling(images: Images) -> None:
    extractor = Colours()
    section = distances(DOMAINS, images, features=[extractor])
    values = section.values
    assert set(values["kid_vgg"]) == set(values["fid_vgg"]) == {"human_to_anime", "anime_to_human"}
    table = {(m["images"], m["from"], m["to"]): m["kid"]["mean"] for m in values["measurements"]}
    best, floor = table["train", "anime", "anime"], table["reconstructed", "anime", "anime"]
    ceiling = table["source", "human", "anime"]
    assert best < floor < values["kid_vgg"]["human_to_anime"] < ceiling
    ratio = values["kid_vgg_over_reconstruction"]["human_to_anime"]
    assert ratio == pytest.approx(values["kid_vgg"]["human_to_anime"] / floor)
    everything = [*images.real, *images.train, *images.reconstructed, *images.translated.values()]
    assert extractor.seen == sum(map(len, everything))  # each set once


def test_the_numbers_are_those_of_the_statistics(images: Images) -> None:
    values = distances(DOMAINS, images, features=[Colours()], seed=3).values
    translated, real, reconstructed = (
        Colours()(pixels)
        for pixels in (images.translated[0, 1], images.real[1], images.reconstructed[1])
    )
    assert values["kid_vgg"]["human_to_anime"] == kid(translated, real, seed=3).mean
    assert values["fid_vgg"]["human_to_anime"] == fid(translated, real)
    floor = next(
        m for m in values["measurements"] if m["name"].endswith("anime_reconstructed40_real40_test")
    )
    assert floor["kid"]["mean"] == kid(reconstructed, real, paired=True, seed=3).mean


def test_names_carry_extractor_counts_and_split(images: Images) -> None:
    section = distances(DOMAINS, images, features=[Colours()], split="val")
    names = [m["name"] for m in section.values["measurements"]]
    assert "kid_colours-halves-mean_human-to-anime_translated60_real40_val" in names
    assert "kid_colours-halves-mean_human-to-anime_source60_real40_val" in names
    assert "kid_colours-halves-mean_anime_train60_real40_val" in names
    assert len(set(names)) == len(names) == 8
    shown = [row[0] for row in section.tables[1].rows]
    assert shown == names
    for measured in section.values["measurements"]:
        assert any("fewer than 2,000" in remark for remark in measured["fid"]["remarks"])
        assert measured["kid"]["subset_size"] == min(measured["count"], measured["real"]) // 2
    assert all("few images" in row[-1] for row in section.tables[0].rows)


def test_an_unmeasurable_floor_gives_no_ratio(images: Images) -> None:
    perfect = Images(images.real, images.train, images.real, images.translated)
    values = distances(DOMAINS, perfect, features=[Colours()]).values
    kids = {
        m["to"]: m["kid"]["mean"] for m in values["measurements"] if m["images"] == "reconstructed"
    }
    ratios = values["kid_vgg_over_reconstruction"]
    for pair, ratio in ratios.items():
        assert (ratio is None) == (kids[pair.split("_to_")[1]] <= 0.0)


def test_pairs_and_several_extractors(images: Images) -> None:
    second = Colours()
    second.key, second.name = "inception", "other"
    sets = []
    section = distances(
        DOMAINS,
        images,
        features=[Colours(), second],
        pairwise=Difference(),
        done=lambda: sets.append(1),
    )
    values = section.values
    assert values["kid_inception"] == values["kid_vgg"]
    assert list(values["extractors"]) == ["vgg", "inception"]
    assert len(sets) == 2 * 8
    expected = Difference()(images.reconstructed[1], images.real[1]).mean()
    assert values["lpips"]["reconstruction"]["anime"]["mean"] == pytest.approx(expected)
    expected = Difference()(images.translated[0, 1], images.real[0]).mean()
    found = values["lpips"]["translation_to_source"]["human_to_anime"]
    assert found["mean"] == pytest.approx(expected)
    assert found["count"] == 60
    json.dumps(values, allow_nan=False)
