"""Classification by the nearest class mean, and the same with means that move to new images.

Images from elsewhere (another hospital's X-rays) may tell the classes apart as well as the training
images do, and yet lie on one side of every border that these have drawn. Where they fall into
groups, the groups show where to draw it, and nobody has to say which image is what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.evaluation.probes import check_finite, kept_by
from srae_dist.evaluation.scores import ClassScores, score

_ROUNDS = 100  # of assigning and averaging; a few are enough

Floats = NDArray[Any]
Numbers = NDArray[np.int64]


def class_means(x: Floats, y: Numbers, *, classes: int) -> Floats:
    """Means C x d of codes N x d by their class numbers N, each there at least once."""
    return np.stack([x[y == number].mean(axis=0) for number in range(classes)])


def moved(means: Floats, x: Floats) -> Floats:
    """Let class means C x d move to the middle of the codes N x d that are nearest to them, until
    none moves (k-means, begun at ``means``). A mean that is the nearest to none stays."""
    for _ in range(_ROUNDS):
        nearest = _distances(means, x).argmin(axis=1)
        new = np.stack(
            [
                x[nearest == number].mean(axis=0) if np.any(nearest == number) else mean
                for number, mean in enumerate(means)
            ]
        )
        if np.array_equal(new, means):
            break
        means = new
    return means


def nearest_means(
    train: tuple[Floats, Numbers], test: tuple[Floats, Numbers], *, classes: int, seeds: int
) -> dict[str, tuple[Sequence[ClassScores], Sequence[ClassScores]]]:
    """Score nearest class means on training and test images, as they are and moved to the latter.

    Args:
        train: codes N x d and class numbers.
        test: as ``train``; all codes move the means together, no class number does.
        seeds: each takes means and scale from nine tenths of the training images of its own.

    Returns:
        "nearest_mean" and "adapted": scores on training and on test images, one for each seed.

    Raises:
        UserError: a code is not finite.
    """
    check_finite(train[0])
    check_finite(test[0])
    scored: dict[str, list[tuple[ClassScores, ClassScores]]] = {"nearest_mean": [], "adapted": []}
    for seed in range(seeds):
        kept = kept_by(seed, train[1])
        x, y = train[0][kept].astype(np.float64), train[1][kept]
        middle, scale = x.mean(axis=0), x.std(axis=0)
        scale[scale == 0] = 1.0
        x, u = (x - middle) / scale, (test[0] - middle) / scale
        means = class_means(x, y, classes=classes)
        for name, now in (("nearest_mean", means), ("adapted", moved(means, u))):
            scored[name].append(
                (score(_likelihood(now, x), y), score(_likelihood(now, u), test[1]))
            )
    return {
        name: ([one for one, _ in pairs], [other for _, other in pairs])
        for name, pairs in scored.items()
    }


def _distances(means: Floats, x: Floats) -> Floats:
    """Squared distances N x C."""
    return np.stack([np.square(x - mean).sum(axis=1) for mean in means], axis=1)


def _likelihood(means: Floats, x: Floats) -> Floats:
    """How likely the classes are, N x C, if each is a ball around its mean."""
    away = _distances(means, x) / (2 * x.shape[1])  # so wide that none is quite certain
    weights = np.exp(away.min(axis=1, keepdims=True) - away)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
