"""Factors read off translations: what a reader learns, and what it says of known translations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from srae_dist.data import faces
from srae_dist.evaluation import regressor
from srae_dist.evaluation.counterparts import Counterparts, counterparts
from srae_dist.evaluation.small_cnn import Fit, SmallCnn
from tests.evaluation.drawn import SIZE, Model

SETTINGS = Fit(steps=50, batch=32, lr=4e-3, width=8)
SHOWN = "background"  # the factor that is read first


@pytest.fixture(scope="module")
def pairs() -> list[Counterparts]:
    model = Model(("photo", "anime"))
    test = model.images(40, seed=1)
    return counterparts(test, encode=model.encode, decode=model.decode, mean_codes=model.mean_codes)


@pytest.fixture(scope="module")
def reader() -> SmallCnn:
    return regressor.train_reader("photo", size=SIZE, settings=SETTINGS, seed=0)


def test_r2_is_the_textbook_s() -> None:
    truth = np.array([[0.0, 1.0], [1.0, 1.5], [2.0, 4.0]])
    assert regressor.r2(truth, truth).tolist() == [1.0, 1.0]
    mean = np.broadcast_to(truth.mean(axis=0), truth.shape)
    assert regressor.r2(mean, truth) == pytest.approx([0.0, 0.0])
    assert regressor.r2(truth + np.array([1.0, 0.0]), truth) == pytest.approx([-0.5, 1.0])


def test_a_reader_learns_to_read_faces_that_it_never_saw(reader: SmallCnn) -> None:
    rows = faces.sample_factors(100, seed=5)
    images = faces.render(rows, "photo", size=SIZE)
    scores = regressor.r2(regressor.read_factors(reader, images), rows)
    assert scores[faces.FACTORS.index(SHOWN)] > 0.5


def test_a_reader_follows_from_its_seed_alone(reader: SmallCnn) -> None:
    state = torch.random.get_rng_state()
    short = replace(SETTINGS, steps=2)
    one, two = (
        regressor.train_reader("photo", size=SIZE, settings=short, seed=0) for _ in range(2)
    )
    other = regressor.train_reader("photo", size=SIZE, settings=short, seed=1)
    images = faces.render(faces.sample_factors(4, seed=5), "photo", size=SIZE)
    read = [regressor.read_factors(net, images) for net in (one, two, other)]
    assert np.array_equal(read[0], read[1])
    assert not np.array_equal(read[0], read[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_true_translations_are_read_as_the_truth_is(pairs: list[Counterparts]) -> None:
    blind = [
        replace(pair, by_mean_code=np.broadcast_to(pair.truth[:1], pair.truth.shape))
        for pair in pairs
    ]
    section = regressor.preservation(blind, settings=SETTINGS)
    for found in section.values["pairs"].values():
        assert found["translation"] == found["ceiling"] == found["reconstruction"]
        assert SHOWN in found["readable"]
        assert found["ceiling"]["mean_readable"] > 0.5
        assert found["mean_code"]["mean_readable"] <= 0  # one face for all tells nothing
        assert set(found["ceiling"]["r2"]) == set(faces.FACTORS)
    assert section.values["preserved"] <= 0
    assert section.values["training_images"] == 1600
    summary, *details = section.tables
    assert [row[:2] for row in summary.rows] == [["photo", "anime"], ["anime", "photo"]]
    assert [len(table.rows) for table in details] == [len(faces.FACTORS)] * 2


def test_nothing_readable_is_said_so(pairs: list[Counterparts]) -> None:
    blurred = [replace(pair, truth=np.zeros_like(pair.truth)) for pair in pairs[:1]]
    section = regressor.preservation(blurred, settings=replace(SETTINGS, steps=1))
    assert section.values["preserved"] is None
    assert section.values["pairs"]["photo_to_anime"]["readable"] == []
    assert section.tables[0].rows[0][2:4] == ["0", "none"]
