"""Probes: what they find, what they score, and their spread over seeds."""

from __future__ import annotations

import warnings
from unittest.mock import patch

import numpy as np
import pytest

from srae_dist.core import randomness
from srae_dist.core.errors import UserError
from srae_dist.evaluation import probe_kinds, subsets
from srae_dist.evaluation.probes import PROBES, fit, probe
from srae_dist.evaluation.regression import probe_factors
from srae_dist.evaluation.scores import baselines, number, percent, score, spread


def blobs(n: int, *, seed: int, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, ``gap`` standard deviations apart in one of six directions."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    x = random.normal(size=(n, 6))
    x[:, 3] += gap * y
    return x, y


def xor(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that no line tells apart: the sign of a product."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 2)) + 2.0 * random.choice([-1, 1], (n, 2))
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def test_scores_are_what_they_are_called() -> None:
    probability = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])
    got = score(probability, np.array([0, 0, 0, 1, 1]))
    assert got.accuracy == pytest.approx(3 / 5)
    assert got.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert got.auc == pytest.approx(5 / 6)  # of six pairs one is the wrong way round
    assert got.confusion.tolist() == [[2, 1], [1, 1]]


def test_auc_of_several_classes_is_a_mean_over_those_that_are_there() -> None:
    probability = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.6, 0.4, 0.0], [0.4, 0.6, 0.0]])
    got = score(probability, np.array([0, 0, 1, 1]))
    assert got.auc == pytest.approx((2.5 / 4 + 3.5 / 4) / 2)
    assert score(probability, np.zeros(4, np.int64)).auc is None


def test_an_unseen_class_is_never_right() -> None:
    got = score(np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]]), np.array([0, 1, subsets.UNSEEN]))
    assert got.accuracy == pytest.approx(2 / 3)
    assert got.balanced_accuracy == pytest.approx(2 / 3)
    assert got.confusion.sum() == 2


def test_baselines_answer_what_training_has_most_of() -> None:
    base = baselines(np.array([0, 1, 1]), np.array([0, 0, 0, 1]), classes=2)
    assert (base.chance, base.majority) == (0.5, 0.25)


def test_spreads() -> None:
    assert spread("a", [0.5, 0.7]) == {"a": 0.6, "a_std": pytest.approx(0.1414, abs=1e-4)}
    assert spread("a", [0.5]) == {"a": 0.5, "a_std": None}
    assert spread("a", [0.5, None]) == {"a": None, "a_std": None}
    assert percent(spread("a", [0.5, 0.7]), "a") == "60.0 % ± 14.1"
    assert percent(spread("a", [0.5]), "a") == "50.0 %"
    assert number(spread("a", [None]), "a") == "-"


def test_subsets_go_class_by_class() -> None:
    y = np.repeat([0, 1, 2], [100, 31, 1])
    random = randomness.generator(0, "test")
    mask = subsets.held_out(y, 0.1, random=random)
    assert np.bincount(y[mask], minlength=3).tolist() == [10, 3, 0]
    fold = subsets.folds(y, 5, random=random)
    assert np.bincount(fold).max() - np.bincount(fold).min() <= 1
    assert np.bincount(fold[y == 0]).tolist() == [20] * 5
    assert np.bincount(y[subsets.equal(y, random=random)]).tolist() == [1, 1, 1]


def test_classes_are_numbered_by_name() -> None:
    names, y, truth = subsets.numbered(np.array(["b", "a", "b"]), np.array(["a", "zz", "b", "aa"]))
    assert names == ["a", "b"]
    assert y.tolist() == [1, 0, 1]
    assert truth.tolist() == [0, subsets.UNSEEN, 1, subsets.UNSEEN]


def test_every_probe_finds_what_is_there_and_nothing_else() -> None:
    for gap, low, high in ((6.0, 0.97, 1.0), (0.0, 0.35, 0.65)):
        found = probe(blobs(300, seed=1, gap=gap), blobs(200, seed=2, gap=gap), classes=2, seeds=2)
        assert list(found) == list(PROBES)
        for scores in found.values():
            values = scores.values()
            assert low <= values["accuracy"] <= high
            assert low <= values["auc"] <= high
            assert values["converged"]


def test_mlp_and_neighbours_find_what_no_line_tells_apart() -> None:
    found = probe(xor(400, seed=1), xor(300, seed=2), classes=2, seeds=1)
    accuracy = {name: scores.values()["accuracy"] for name, scores in found.items()}
    assert accuracy["linear"] < 0.65
    assert accuracy["mlp"] > 0.9
    assert accuracy["knn"] > 0.9


def test_seeds_spread_and_repeat() -> None:
    train, test = blobs(150, seed=1, gap=1.0), blobs(200, seed=2, gap=1.0)
    one = probe(train, test, classes=2, seeds=3)
    two = probe(train, test, classes=2, seeds=3)
    for name in PROBES:
        assert one[name].values() == two[name].values()
        assert len({s.auc for s in one[name].test}) == 3, name


def test_train_scores_are_of_the_images_fitted_on() -> None:
    x, y = blobs(100, seed=1, gap=0.0)
    found = probe((x, y), blobs(100, seed=2, gap=0.0), classes=2, seeds=1, names=("knn",))
    if found["knn"].settings == ("k = 1",):
        assert found["knn"].train[0].accuracy == 1.0
    assert found["knn"].train[0].confusion.sum() == np.count_nonzero(
        ~subsets.held_out(y, 0.1, random=randomness.generator(0, "probe", "left out"))
    )


@pytest.mark.parametrize("name", PROBES)
def test_a_class_of_one_image_and_a_constant_number_are_no_trouble(name: str) -> None:
    x, y = blobs(30, seed=1, gap=5.0)
    y[7], x[7], x[:, 0] = 2, 50.0, 1.0
    made = fit(name, x, y, classes=3, seed=0)
    probability = made.probability(x)
    assert probability.shape == (30, 3)
    assert probability.sum(axis=1) == pytest.approx(np.ones(30), abs=1e-5)


@pytest.mark.parametrize("name", PROBES)
def test_two_images_are_enough_to_run(name: str) -> None:
    made = fit(name, np.array([[0.0], [1.0]]), np.array([0, 1]), classes=2, seed=0)
    assert made.probability(np.array([[0.0], [1.0]])).argmax(1).tolist() == [0, 1]


def test_what_has_not_converged_says_so_without_a_warning() -> None:
    with (
        patch.object(probe_kinds, "_MAX_ITERATIONS", 1),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        found = probe(
            blobs(100, seed=1, gap=2.0),
            blobs(50, seed=2, gap=2.0),
            classes=2,
            seeds=1,
            names=("linear",),
        )
    assert not found["linear"].values()["converged"]


@pytest.mark.parametrize("part", ["train", "test"])
def test_codes_that_are_not_finite_are_refused(part: str) -> None:
    train, test = blobs(20, seed=1, gap=1.0), blobs(20, seed=2, gap=1.0)
    (train if part == "train" else test)[0][3, 2] = np.nan
    with pytest.raises(UserError, match="not finite"):
        probe(train, test, classes=2, seeds=1, names=("knn",))


def test_regressors_read_factors() -> None:
    def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        x = random.normal(size=(n, 4))
        bent = np.abs(x[:, 1])
        return x, np.stack([2.0 * x[:, 0] + 1.0, bent, random.normal(size=n), np.full(n, 3.0)], 1)

    found = probe_factors(drawn(500, 1), drawn(300, 2), seeds=2)
    ridge, mlp = found["ridge"]["r2"], found["mlp"]["r2"]
    assert ridge[0] > 0.99
    assert mlp[0] > 0.9
    assert ridge[1] < 0.1
    assert mlp[1] > 0.7
    assert max(ridge[2], mlp[2]) < 0.1
    assert ridge[3] is None
    assert found["ridge"]["r2_std"][0] is not None
