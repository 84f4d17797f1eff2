"""Fresh regressors of codes: how well continuous factors can be read from them, by R2.

Seeds and held-out tenths as in evaluation/probes.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness
from srae_dist.evaluation.mlp import fit_regressor
from srae_dist.evaluation.probes import LEFT_OUT, check_finite, kept_by
from srae_dist.evaluation.scores import spread
from srae_dist.evaluation.subsets import held_out

REGRESSORS = ("ridge", "mlp")

_PENALTIES = tuple(10.0**power for power in range(6))  # of ridge regression, chosen per factor

Floats = NDArray[Any]
Predict = Callable[[Floats], Floats]


def probe_factors(
    train: tuple[Floats, Floats], test: tuple[Floats, Floats], *, seeds: int
) -> dict[str, dict[str, Any]]:
    """Fit fresh regressors on codes of training images and score them on held-out ones.

    Args:
        train, test: codes N x d and factors N x t.

    Returns:
        For "ridge" and "mlp": R2 of every factor, "r2" and "r2_std" of t numbers each, over seeds
        (0: as good as the mean; below: worse), and "converged".

    Raises:
        UserError: a code is not finite.
    """
    check_finite(train[0])
    check_finite(test[0])
    return {name: _probe(name, train, test, seeds) for name in REGRESSORS}


def r2(truth: Floats, answer: Floats) -> list[float | None]:
    """Return the coefficient of determination of each column; None of a constant one."""
    return [
        float(1.0 - np.mean((t - a) ** 2, dtype=np.float64) / np.var(t, dtype=np.float64))
        if np.ptp(t) > 0.0
        else None
        for t, a in zip(truth.T, answer.T, strict=True)
    ]


def fit(name: str, x: Floats, y: Floats, *, seed: int) -> tuple[Predict, bool]:
    """Fit a regressor of a kind of ``REGRESSORS``: codes N x d to numbers N x t.

    Returns:
        What predicts N x t, and whether the fit converged.
    """
    from sklearn.preprocessing import StandardScaler

    inputs, outputs = StandardScaler().fit(x), StandardScaler().fit(y)
    u, v = inputs.transform(x), outputs.transform(y)
    model, converged = _ridge(u, v) if name == "ridge" else _mlp(u, v, seed)

    def predict(codes: Floats) -> Floats:
        answer = model.predict(inputs.transform(codes)).reshape(len(codes), -1)
        return np.asarray(outputs.inverse_transform(answer))

    return predict, converged


def _probe(
    name: str, train: tuple[Floats, Floats], test: tuple[Floats, Floats], seeds: int
) -> dict[str, Any]:
    scores, converged = [], True
    for seed in range(seeds):
        kept = kept_by(seed, np.zeros(len(train[0]), np.int64))
        predict, done = fit(name, train[0][kept], train[1][kept], seed=seed)
        scores.append(r2(test[1], predict(test[0])))
        converged = converged and done
    spreads = [spread("r2", values) for values in zip(*scores, strict=True)]
    return {
        "r2": [values["r2"] for values in spreads],
        "r2_std": [values["r2_std"] for values in spreads],
        "converged": converged,
    }


def _ridge(x: Floats, y: Floats) -> tuple[Any, bool]:
    """Ridge regression, the penalty of each factor chosen by leave-one-out."""
    from sklearn.linear_model import RidgeCV

    return RidgeCV(_PENALTIES, alpha_per_target=True).fit(x, y), True


def _mlp(x: Floats, y: Floats, seed: int) -> tuple[Any, bool]:
    whole = np.zeros(len(x), np.int64)
    random = randomness.generator(seed, "probe", "validation")
    return fit_regressor(
        x,
        y,
        validation=held_out(whole, LEFT_OUT, random=random),
        seed=randomness.seed_of(seed, "probe", "mlp") % 2**32,
    )
