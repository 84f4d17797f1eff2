"""Two-layer perceptrons that stop when held-out training images no longer gain.

scikit-learn's own early stopping refuses rare classes; here any training set will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

HIDDEN = 256  # units
MAX_EPOCHS = 200
PATIENCE = 10  # epochs without gain
_BATCH = 128
_DECAY = 0.01  # weight of the L2 penalty
_GAIN = 1e-3  # of the mean log-likelihood, in nats: less is no gain


def fit_classifier(
    x: NDArray[Any],
    y: NDArray[np.int64],
    *,
    validation: NDArray[np.bool_],
    classes: int,
    seed: int,
) -> tuple[Any, bool]:
    """Fit a classifier on standardised codes N x d.

    Args:
        y: N class numbers, each of ``classes`` at least once outside ``validation``.
        validation: mask of N; if it holds none, all images judge.

    Returns:
        The classifier, and whether it stopped by itself.
    """
    from sklearn.neural_network import MLPClassifier

    fitted, judged = _split(validation)
    model = MLPClassifier(
        hidden_layer_sizes=(HIDDEN,),
        alpha=_DECAY,
        batch_size=min(_BATCH, np.count_nonzero(fitted)),
        random_state=seed,
    )

    def value() -> tuple[float, float]:
        probability = model.predict_proba(x[judged])
        right = probability[np.arange(len(probability)), y[judged]]
        accuracy = np.mean(probability.argmax(axis=1) == y[judged])
        return float(accuracy), float(np.log(right + 1e-9).mean())

    numbers = np.arange(classes)
    done = _train(model, lambda: model.partial_fit(x[fitted], y[fitted], classes=numbers), value)
    return model, done


def fit_regressor(
    x: NDArray[Any], y: NDArray[Any], *, validation: NDArray[np.bool_], seed: int
) -> tuple[Any, bool]:
    """Fit a regressor of standardised numbers N x t on standardised codes N x d; as above."""
    from sklearn.neural_network import MLPRegressor

    fitted, judged = _split(validation)
    model = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,),
        alpha=_DECAY,
        batch_size=min(_BATCH, np.count_nonzero(fitted)),
        random_state=seed,
    )
    target = y[fitted] if y.shape[1] > 1 else y[fitted].ravel()

    def value() -> tuple[float, float]:
        error = model.predict(x[judged]).reshape(-1, y.shape[1]) - y[judged]
        return 0.0, -float(np.mean(error**2))

    done = _train(model, lambda: model.partial_fit(x[fitted], target), value)
    return model, done


def _split(validation: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return ~validation, validation if validation.any() else ~validation


def _train(model: Any, step: Callable[[], Any], value: Callable[[], tuple[float, float]]) -> bool:
    """Take epochs until (accuracy, fit) no longer rises, and put the best weights back."""
    best, waited = (-np.inf, -np.inf), 0
    kept: list[NDArray[Any]] = []
    for _ in range(MAX_EPOCHS):
        step()
        now = value()
        if now > (best[0], best[1] + _GAIN):
            best, waited = now, 0
            kept = [weights.copy() for weights in (*model.coefs_, *model.intercepts_)]
        else:
            waited += 1
            if waited == PATIENCE:
                break
    layers = len(model.coefs_)
    model.coefs_, model.intercepts_ = kept[:layers], kept[layers:]
    return waited == PATIENCE
