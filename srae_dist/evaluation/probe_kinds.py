"""The kinds of probes: logistic regression, two-layer perceptron, nearest neighbours.

Each takes standardised codes N x d, class numbers N (each of 0 to ``classes`` - 1 at least once
outside ``validation``), a mask of N whose images choose what can be set, the number of classes, and
a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness
from srae_dist.evaluation.mlp import fit_classifier

_PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0)  # C of logistic regression: small is strong
_NEIGHBOURS = (1, 5, 15, 45)
_MAX_ITERATIONS = 1000  # of logistic regression

Floats = NDArray[Any]  # N x d
Classes = NDArray[np.int64]  # N


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted classifier."""

    probability: Callable[[Floats], Floats]  # codes N x d to N x classes
    setting: str  # what was chosen: "C = 0.01"
    converged: bool


def linear(x: Floats, y: Classes, validation: NDArray[np.bool_], classes: int, seed: int) -> Probe:
    """Logistic regression, its penalty chosen on the held-out tenth."""
    del classes, seed  # it finds the first, and the penalised optimum is one

    def value(c: float) -> float:
        model, _ = _regress(x[~validation], y[~validation], c)
        return float(model.score(x[validation], y[validation]))

    c = max(_PENALTIES, key=value) if validation.any() else _PENALTIES[2]
    model, converged = _regress(x, y, c)
    return Probe(model.predict_proba, f"C = {c:g}", converged)


def _regress(x: Floats, y: Classes, c: float) -> tuple[Any, bool]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=c, max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():  # told by the result instead
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    return model, bool(model.n_iter_.max() < _MAX_ITERATIONS)


def mlp(x: Floats, y: Classes, validation: NDArray[np.bool_], classes: int, seed: int) -> Probe:
    """A two-layer perceptron, stopped by the held-out tenth."""
    start = randomness.seed_of(seed, "probe", "mlp") % 2**32
    model, done = fit_classifier(x, y, validation=validation, classes=classes, seed=start)
    return Probe(model.predict_proba, "stopped early" if done else "all epochs", done)


def knn(x: Floats, y: Classes, validation: NDArray[np.bool_], classes: int, seed: int) -> Probe:
    """Vote of the k nearest, k chosen on the held-out tenth."""
    del seed
    fitted, k = ~validation, 1
    if validation.any():
        sizes = [size for size in _NEIGHBOURS if size <= np.count_nonzero(fitted)]
        near = y[fitted][_nearest(x[fitted], x[validation], sizes[-1])]
        rates = [
            np.mean(_vote(near[:, :size], classes).argmax(1) == y[validation]) for size in sizes
        ]
        k = sizes[int(np.argmax(rates))]
    return Probe(lambda codes: _vote(y[_nearest(x, codes, k)], classes), f"k = {k}", True)


def _nearest(x: Floats, codes: Floats, k: int) -> NDArray[np.int64]:
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x)
    rows: NDArray[np.int64] = found.kneighbors(codes, return_distance=False)
    return rows


def _vote(near: Classes, classes: int) -> Floats:
    """Classes of the k nearest, N x k, to shares N x classes."""
    return np.stack([np.mean(near == number, axis=1) for number in range(classes)], axis=1)


# A plane between classes, a smooth surface, any shape at all: the simplest first.
KINDS: dict[str, Callable[[Floats, Classes, NDArray[np.bool_], int, int], Probe]] = {
    "linear": linear,
    "mlp": mlp,
    "knn": knn,
}
