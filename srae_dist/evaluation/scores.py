"""How good a classifier's or regressor's answers are, and the spread of that over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.evaluation.subsets import UNSEEN


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One classifier's scores on one set of images."""

    accuracy: float
    balanced_accuracy: float  # mean over classes of the share that is recognised
    auc: float | None  # area under the ROC curve; a mean over classes, each against the rest
    confusion: NDArray[np.int64]  # truth x answer, images; without those of unseen classes


@dataclass(frozen=True, slots=True)
class Baselines:
    """What can be had without looking at the images."""

    chance: float  # 1 / classes: also the balanced accuracy of any constant answer
    majority: float  # accuracy of always answering the class most frequent in training


def score(probability: NDArray[Any], truth: NDArray[np.int64]) -> ClassScores:
    """Score answers.

    Args:
        probability: N x classes.
        truth: N class numbers, ``UNSEEN`` for a class that is none of them; not all.
    """
    from sklearn.metrics import confusion_matrix

    answer = probability.argmax(axis=1)
    right = answer == truth
    known = truth != UNSEEN
    count = probability.shape[1]
    return ClassScores(
        accuracy=float(right.mean()),
        balanced_accuracy=fmean(float(right[truth == c].mean()) for c in np.unique(truth)),
        auc=_auc(probability[known], truth[known]),
        confusion=confusion_matrix(truth[known], answer[known], labels=np.arange(count)),
    )


def baselines(train: NDArray[np.int64], test: NDArray[np.int64], *, classes: int) -> Baselines:
    """Return the baselines of answering the classes of the test images."""
    most = int(np.bincount(train, minlength=classes).argmax())
    return Baselines(chance=1.0 / classes, majority=float(np.mean(test == most)))


def spread(name: str, values: Sequence[float | None]) -> dict[str, float | None]:
    """Return mean and standard deviation over seeds as ``{name: ..., name_std: ...}``.

    None where a value is undefined; one seed has no standard deviation.
    """
    found = [value for value in values if value is not None]
    if len(found) < len(values) or not found:
        return {name: None, f"{name}_std": None}
    return {name: fmean(found), f"{name}_std": stdev(found) if len(found) > 1 else None}


def over_fits(seeds: int) -> str:
    """Say what numbers of so many seeds are, and what each fit saw."""
    if seeds == 1:
        return "numbers are of one fit, on nine tenths of the training images"
    return (
        f"numbers are means and standard deviations over {seeds} fits, each on nine tenths of the "
        "training images of its own"
    )


def percent(values: Mapping[str, Any], name: str) -> str:
    """Write a spread's accuracy for people: "84.6 % ± 0.3"."""
    mean, std = values[name], values[f"{name}_std"]
    return _with_spread(mean, std, scale=100.0, digits=1, unit=" %")


def number(values: Mapping[str, Any], name: str) -> str:
    """Write a spread's number for people: "0.912 ± 0.003"."""
    return _with_spread(values[name], values[f"{name}_std"], scale=1.0, digits=3, unit="")


def _with_spread(
    mean: float | None, std: float | None, *, scale: float, digits: int, unit: str
) -> str:
    if mean is None:
        return "-"
    text = f"{scale * mean:.{digits}f}{unit}"
    return text if std is None else f"{text} ± {scale * std:.{digits}f}"


def _auc(probability: NDArray[Any], truth: NDArray[np.int64]) -> float | None:
    """Of two classes the second's; of more the mean over those that are there, one against all."""
    from sklearn.metrics import roc_auc_score

    columns = [1] if probability.shape[1] == 2 else range(probability.shape[1])
    areas = [
        float(roc_auc_score(truth == c, probability[:, c]))
        for c in columns
        if 0 < np.count_nonzero(truth == c) < len(truth)
    ]
    return fmean(areas) if areas else None
