"""Class means that move to new images: they follow a shift, and know no label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srae_dist.core.errors import UserError
from srae_dist.evaluation.adaptation import class_means, moved
from srae_dist.evaluation.classification import classify
from tests.evaluation.coded import coded


def test_moved_means_find_groups_that_lie_elsewhere() -> None:
    """As with X-rays of another hospital: both classes have come closer to one of the old means."""
    train, test = coded((200, 200), seed=1, told=6.0), coded((150, 90), seed=2, told=6.0)
    shifted = test.domain_code.copy()
    shifted[:, 1] += 2.7
    section = classify(
        train, replace(test, domain_code=shifted), seeds=2, names=("linear",), adapt=True
    )
    plain, adapted = (section.values["means"][name] for name in ("nearest_mean", "adapted"))
    assert plain["train"]["accuracy"] > 0.98
    assert plain["test"]["accuracy"] < 0.8
    assert section.values["test_accuracy"] < 0.8
    assert adapted["test"]["accuracy"] > 0.97
    assert adapted["test"]["auc"] > 0.99
    assert np.sum(adapted["test"]["confusion"]) == 240
    assert [row[0] for row in section.tables[0].rows][1:3] == [
        "nearest class mean",
        "nearest class mean, moved to the test images",
    ]
    assert "can harm" in section.text


def test_labels_of_test_images_have_no_say() -> None:
    train, test = coded((80, 80), seed=1, told=3.0), coded((60, 60), seed=2, told=3.0)
    both = [
        classify(train, images, seeds=1, names=("knn",), adapt=True).values["means"]["adapted"]
        for images in (test, replace(test, domain=1 - test.domain))
    ]
    assert both[1]["test"]["accuracy"] == pytest.approx(1 - both[0]["test"]["accuracy"])
    assert both[1]["test"]["auc"] == pytest.approx(1 - both[0]["test"]["auc"])


def test_nothing_is_adapted_unless_asked_for() -> None:
    train, test = coded((40, 40), seed=1), coded((30, 30), seed=2)
    assert "means" not in classify(train, test, seeds=1, names=("knn",)).values


def test_means_are_k_means_begun_where_they_were() -> None:
    x = np.array([[0.0], [0.2], [4.0], [4.4], [9.0]])
    means = class_means(x[:4], np.array([0, 0, 1, 1]), classes=2)
    assert means.tolist() == [[0.1], [4.2]]
    assert moved(means, x).ravel() == pytest.approx([0.1, (4.0 + 4.4 + 9.0) / 3])
    far = np.array([[0.1], [100.0]])
    assert moved(far, x).tolist() == [[pytest.approx(17.6 / 5)], [100.0]]  # nearest to none


def test_a_constant_number_of_the_code_is_passed_over() -> None:
    train, test = coded((60, 60), seed=1), coded((40, 40), seed=2)
    for part in (train, test):
        part.domain_code[:, 0] = 7.0
    values = classify(train, test, seeds=1, names=("knn",), adapt=True).values
    assert values["means"]["adapted"]["test"]["accuracy"] > 0.95


def test_codes_that_are_not_finite_are_refused() -> None:
    train, test = coded((40, 40), seed=1), coded((30, 30), seed=2)
    test.domain_code[0, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        classify(train, test, seeds=1, names=("knn",), adapt=True)
