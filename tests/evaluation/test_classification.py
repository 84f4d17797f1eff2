"""Classification: the probe is chosen on training codes; what is scored is told in full."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from srae_dist.core.errors import UserError
from srae_dist.evaluation.classification import classify, simplest_of_the_best
from tests.evaluation.coded import coded


def test_the_domain_is_told_by_the_domain_code_alone() -> None:
    train, test = coded((120, 120), seed=1), coded((90, 60), seed=2)
    section = classify(train, test, seeds=2, names=("linear", "knn"))
    values = section.values
    assert values["test_accuracy"] > 0.98
    assert values["test_auc"] > 0.99
    assert values["classes"] == ["domain-0", "domain-1"]
    assert (values["chance"], values["majority"]) == (0.5, pytest.approx(0.6))
    assert np.sum(values["probes"]["linear"]["test"]["confusion"]) == 150
    assert np.sum(values["probes"]["linear"]["train"]["confusion"]) == 216
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert all(len(row) == len(t.columns) for t in section.tables for row in t.rows)
    content = classify(train, test, seeds=1, code="content", names=("linear",)).values
    assert content["test_balanced_accuracy"] < 0.65
    assert classify(train, test, seeds=1, code="both", names=("linear",)).values[
        "test_accuracy"
    ] == pytest.approx(1.0, abs=0.03)


def test_test_images_have_no_say_in_the_choice() -> None:
    """On labels that are wrong on every test image the same probe is chosen, and scores badly."""
    train, test = coded((80, 80), seed=1, told=3.0), coded((60, 60), seed=2, told=3.0)
    names = ("linear", "knn")
    right = classify(train, test, seeds=1, names=names).values
    other = replace(test, domain=1 - test.domain)
    wrong = classify(train, other, seeds=1, names=names).values
    assert right["chosen"] == wrong["chosen"]
    assert right["probes"][right["chosen"]]["cv"] == wrong["probes"][wrong["chosen"]]["cv"]
    assert wrong["test_accuracy"] == pytest.approx(1 - right["test_accuracy"])


@pytest.mark.parametrize(
    ("linear", "mlp", "knn", "std", "chosen"),
    [
        (0.98, 0.985, 0.99, 0.025, "linear"),  # 0.025 / sqrt(5) is 0.011: no telling them apart
        (0.98, 0.985, 0.99, 0.01, "knn"),
        (0.95, 0.982, 0.99, 0.025, "mlp"),
        (0.99, 0.98, 0.98, 0.01, "linear"),
        (0.5, 0.5, 0.5, 0.0, "linear"),
    ],
)
def test_of_what_folds_hardly_tell_apart_the_simplest_is_chosen(
    linear: float, mlp: float, knn: float, std: float, chosen: str
) -> None:
    means = {"knn": knn, "linear": linear, "mlp": mlp}  # their order says nothing
    folds = {name: {"auc": mean, "auc_std": std} for name, mean in means.items()}
    assert simplest_of_the_best(folds, "auc") == chosen


def test_one_fold_or_none_chooses_the_best() -> None:
    folds = {
        "linear": {"accuracy": 0.97, "accuracy_std": None},
        "mlp": {"accuracy": 0.98, "accuracy_std": None},
        "knn": {"accuracy": None, "accuracy_std": None},
    }
    assert simplest_of_the_best(folds) == "mlp"


def test_an_equal_prior_finds_the_rare_class() -> None:
    train, test = coded((360, 40), seed=1, told=1.5), coded((450, 50), seed=2, told=1.5)
    natural = classify(train, test, seeds=1, names=("linear",)).values
    equal = classify(train, test, seeds=1, names=("linear",), prior="equal").values
    assert equal["test_balanced_accuracy"] > natural["test_balanced_accuracy"] + 0.1
    assert equal["test_accuracy"] < natural["test_accuracy"]
    assert equal["test_auc"] == pytest.approx(natural["test_auc"])
    assert "balanced" in equal["chosen_by"]


def test_a_content_label_of_some_images() -> None:
    train, test = coded((60, 60), seed=1, labels=3), coded((60, 60), seed=2, labels=3)
    test.labels["digit"][:30] = ""
    section = classify(train, test, code="content", label="digit", seeds=1, names=("linear",))
    assert section.values["images"] == {"train": 120, "test": 90}
    assert section.values["test_accuracy"] > 0.85
    assert len(section.values["probes"]["linear"]["test"]["confusion"]) == 3


def test_a_class_of_test_alone_counts_as_errors() -> None:
    train, test = coded((60, 60), seed=1, labels=2), coded((60, 60), seed=2, labels=2)
    test.labels["digit"][:60] = "9"
    section = classify(train, test, code="content", label="digit", seeds=1, names=("linear",))
    assert section.values["test_images_of_unseen_classes"] == 60
    assert section.values["test_accuracy"] <= 0.5
    assert "60 test images are of classes" in section.text


def test_no_class_of_test_is_known_from_training() -> None:
    """Patients, writers, sessions: split apart on purpose."""
    train, test = coded((20, 20), seed=1, labels=2), coded((20, 20), seed=2, labels=2)
    test.labels["digit"][:] = "9"
    with pytest.raises(UserError, match="No test image has a label digit that a training image"):
        classify(train, test, label="digit", seeds=1, names=("knn",))


@pytest.mark.parametrize(
    ("label", "texts", "message"),
    [
        ("digits", {"digit": "1"}, "no label 'digits'; choose from domain, digit. Did you mean"),
        ("digit", {"digit": "1"}, "All training images have the label digit = '1'"),
        ("digit", {"digit": ""}, "none has a label 'digit'"),
    ],
)
def test_labels_that_cannot_be_told(label: str, texts: dict[str, str], message: str) -> None:
    labels = {name: np.full(20, text) for name, text in texts.items()}
    part = replace(coded((10, 10), seed=1), labels=labels)
    with pytest.raises(UserError, match=message):
        classify(part, part, label=label, seeds=1, names=("knn",))


def test_one_domain_is_no_task() -> None:
    train, test = coded((20, 20), seed=1), coded((20, 20), seed=2)
    with pytest.raises(UserError, match="All training images"):
        classify(train.of(0), test, seeds=1, names=("knn",))


def test_no_images_is_a_sentence() -> None:
    train, test = coded((20, 20), seed=1), coded((20, 20), seed=2)
    with pytest.raises(UserError, match="Of the 0 test images none"):
        classify(train, test.take(np.zeros(40, bool)), seeds=1, names=("knn",))
