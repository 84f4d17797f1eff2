"""Translations against the truth: a model that knows it, and models that err in known ways."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from srae_dist.core.errors import UserError
from srae_dist.data import faces
from srae_dist.evaluation import image_errors, pairs
from srae_dist.evaluation.counterparts import (
    Counterparts,
    check_drawn,
    counterparts,
    is_built_in,
)
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.image_errors import FeatureDistance
from srae_dist.evaluation.section import Section
from srae_dist.model.pixels import to_float
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.objective import terms
from srae_dist.recipe.schema import Perceptual
from tests.evaluation.drawn import SIZE, Model

PERCEPTUAL = Perceptual(weights="random", layers=("relu1_1", "relu1_2"), layer_weights=(1.0, 0.5))
THREE = ("anime", "photo", "clay")


def made(model: Model, test: Encoded) -> list[Counterparts]:
    return counterparts(test, encode=model.encode, decode=model.decode, mean_codes=model.mean_codes)


def measured(model: Model, *, count: int = 5) -> tuple[list[Counterparts], Encoded, Section]:
    test, train = model.images(count, seed=1), model.images(2 * count, seed=2)
    some = made(model, test)
    return some, train, pairs.against_truth(some, train, distance=FeatureDistance(PERCEPTUAL))


def test_who_translates_as_well_as_it_reconstructs_has_ratio_one() -> None:
    some, _, section = measured(Model(THREE, dark=4))
    names = [f"{s}_to_{t}" for s in THREE for t in THREE if s != t]
    assert list(section.values["pairs"]) == names
    assert section.values["ratio"] == pytest.approx(1.0)
    assert section.values["ratio_mean_code"] == pytest.approx(1.0)
    assert section.values["ratio_moved_code"] == pytest.approx(1.0)
    for found, pair in zip(section.values["pairs"].values(), some, strict=True):
        assert 0 < found["translation"]["l1"] <= 4 / 255
        assert found["source"]["l1"] == pytest.approx(
            np.abs(pair.images.astype(float) - pair.truth).mean() / 255
        )
        assert found["retrieval"] == {
            "content_code": 1.0,
            "pixels": found["retrieval"]["pixels"],
            "chance": 0.2,
        }
        assert found["translation"]["vgg"] < found["source"]["vgg"]
        assert found["translation"]["psnr"] > found["nearest_to_truth"]["psnr"]


def test_a_perfect_model_has_no_ratio() -> None:
    _, _, section = measured(Model(("photo", "anime")), count=2)
    assert section.values["ratio"] is None
    assert section.values["pairs"]["photo_to_anime"]["translation"]["l1"] == 0


def test_the_mean_code_is_held_apart_from_the_true_one() -> None:
    model = Model(("photo", "anime"), dark=4)
    test = model.images(3, seed=1)
    model.mean_codes = model.mean_codes[::-1]  # each domain's code is the other's
    wrong = counterparts(
        test,
        encode=lambda pixels: (model.encode(pixels)[0], model.encode(pixels)[1][:, ::-1]),
        decode=model.decode,
        mean_codes=model.mean_codes,
    )
    section = pairs.against_truth(
        wrong, model.images(4, seed=2), distance=FeatureDistance(PERCEPTUAL)
    )
    assert section.values["ratio"] == pytest.approx(1.0)
    assert section.values["ratio_mean_code"] > 5
    assert section.values["ratio_moved_code"] > 5


def test_a_moved_code_keeps_what_its_domain_does_not_share() -> None:
    """A face's own code has something of its own: moved to the other domain, it still has."""
    model = Model(("photo", "anime"))
    test = model.images(2, seed=1)
    own = np.array([[0.0, 0.0], [0.0, 0.0], [0.3, -0.2], [-0.1, 0.4]], np.float32)
    seen: list[np.ndarray] = []

    def decode(content: np.ndarray, codes: np.ndarray) -> np.ndarray:
        seen.extend(codes)
        return model.decode(content, codes)

    counterparts(
        replace(test, domain_code=test.domain_code + own),
        encode=model.encode,
        decode=decode,
        mean_codes=model.mean_codes,
    )
    for row, place in enumerate(test.domain):
        wanted = model.mean_codes[1 - place] + own[row]
        assert any(np.allclose(code, wanted) for code in seen)


def test_tables_have_a_row_for_every_ordered_pair() -> None:
    _, _, section = measured(Model(THREE, dark=4), count=3)
    assert len(section.tables) == len(pairs.MEASURES) + 1
    for table in section.tables:
        assert [tuple(row[:2]) for row in table.rows] == [
            (s, t) for s in THREE for t in THREE if s != t
        ]
        assert {len(row) for row in table.rows} == {len(table.columns)}
    l1 = section.tables[0]
    assert l1.rows[0][l1.columns.index("ratio")] == "1.00"
    assert section.pictures[0].name == "truth"


def test_the_nearest_training_image_is_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (7, 6, 6, 3), np.uint8)
    among = random.integers(0, 256, (50, 6, 6, 3), np.uint8)
    far = np.square(images[:, None].astype(float) - among[None]).sum(axis=(2, 3, 4))
    for rows in (1024, 8):
        monkeypatch.setattr(pairs, "_ROWS", rows)
        assert pairs.nearest(images, among).tolist() == far.argmin(axis=1).tolist()


def test_retrieval_is_the_share_that_finds_itself() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 2, 3))
    assert pairs.retrieval(rows, 3 * rows + 5) == 1.0  # neither scale nor a domain's mean counts
    swapped = rows[[1, 0, 2, 3, 4, 5, 6, 7]]
    assert pairs.retrieval(rows, swapped) == 0.75


def test_what_no_factors_have_drawn_is_refused() -> None:
    test = Model(("photo", "anime")).images(3, seed=1)
    assert is_built_in(test)
    assert check_drawn(test) == 0
    wrong = replace(test, factors=test.factors | {"yaw": -test.factors["yaw"]})
    with pytest.raises(UserError, match=r"Image 000\d is not what its factors draw"):
        check_drawn(wrong)
    unknown = replace(test, factors={})
    assert not is_built_in(unknown)
    with pytest.raises(UserError, match="lack their factors"):
        check_drawn(unknown)
    assert not is_built_in(replace(test, domains=("photo", "horse")))


def test_compression_is_forgiven() -> None:
    test = Model(("photo", "anime")).images(8, seed=1)
    coded = np.empty_like(test.pixels)
    for place, picture in enumerate(test.pixels):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=90)
        coded[place] = np.asarray(Image.open(file))
    assert 0 < check_drawn(replace(test, pixels=coded)) < 0.03


def test_the_source_is_the_shard_s_and_the_truth_is_drawn() -> None:
    model = Model(("photo", "anime"))
    test = model.images(3, seed=1)
    first = made(model, test)[0]
    assert (first.source, first.target) == ("photo", "anime")
    assert np.array_equal(first.images, test.of(0).pixels)
    assert np.array_equal(first.truth, faces.render(first.factors, "anime", size=SIZE))
    assert np.array_equal(first.content, test.of(0).content)
    assert np.array_equal(first.truth_content, first.content)  # this model's, not any


def test_pixel_errors_have_the_textbook_s_values() -> None:
    truth = np.full((2, 4, 4, 3), 100, np.uint8)
    images = np.stack([truth[0] + 51, truth[1]])
    assert image_errors.l1(images, truth).tolist() == [0.2, 0.0]
    levels = image_errors.psnr(images, truth)
    assert levels[0] == pytest.approx(10 * np.log10(1 / 0.04))
    assert levels[1] == pytest.approx(58.9, abs=0.05)
    assert image_errors.l1(truth, images)[0] == 0.2  # unsigned numbers do not wrap around


def test_feature_distance_is_the_recipe_s_loss() -> None:
    random = np.random.default_rng(0)
    images, truth = random.integers(0, 256, (2, 70, 8, 8, 3), np.uint8)
    distance = FeatureDistance(PERCEPTUAL)
    found = distance({"a": images, "same": truth}, truth)
    net = PerceptualNetwork(PERCEPTUAL.layers, weights="random")
    got, wanted = (net(to_float(x, torch.device("cpu"))) for x in (images, truth))
    loss = terms.perceptual(got, wanted, PERCEPTUAL.layer_weights or ())
    assert found["a"].shape == (70,)
    assert found["a"].mean() == pytest.approx(float(loss), rel=1e-4)
    assert not found["same"].any()
    assert distance.name == "VGG-16 (random weights), relu1_1 + relu1_2"
