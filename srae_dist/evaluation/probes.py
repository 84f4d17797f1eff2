"""Fresh classifiers of codes: what someone who has never seen the model can read from them.

Each seed fits on nine tenths of the training images, its own, so that probes without random
numbers have a spread, too. What a probe can be set to is chosen on a tenth held out of these.
Codes are standardised and nothing else: dropping or whitening their small directions, measured on
encoded X-rays and digits, made every probe weaker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness
from srae_dist.core.errors import UserError
from srae_dist.evaluation.probe_kinds import KINDS, Classes, Floats, Probe
from srae_dist.evaluation.scores import ClassScores, score, spread
from srae_dist.evaluation.subsets import held_out

PROBES = tuple(KINDS)  # the simplest first
TITLES = {
    "linear": "logistic regression",
    "mlp": "two-layer MLP",
    "knn": "nearest neighbours",
}
LEFT_OUT = 0.1  # of the training images by each seed; of the rest for choosing settings


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """What one kind of probe scored, a value a seed."""

    train: tuple[ClassScores, ...]
    test: tuple[ClassScores, ...]
    settings: tuple[str, ...]
    converged: bool  # under every seed

    def values(self) -> dict[str, Any]:
        """Return means and standard deviations over seeds, as plain JSON."""
        return {
            **spread("accuracy", [s.accuracy for s in self.test]),
            **spread("balanced_accuracy", [s.balanced_accuracy for s in self.test]),
            **spread("auc", [s.auc for s in self.test]),
            **spread("train_accuracy", [s.accuracy for s in self.train]),
            "settings": list(self.settings),
            "converged": self.converged,
        }


def fit(name: str, x: Floats, y: Classes, *, classes: int, seed: int) -> Probe:
    """Fit a probe of a kind of ``PROBES``.

    Args:
        x: codes N x d.
        y: N class numbers; each of 0 to ``classes`` - 1 at least once.

    Raises:
        UserError: a code is not finite.
    """
    from sklearn.preprocessing import StandardScaler

    check_finite(x)
    scaler = StandardScaler().fit(x)
    scaled = scaler.transform(x)
    validation = held_out(y, LEFT_OUT, random=randomness.generator(seed, "probe", "validation"))
    made = KINDS[name](scaled, y, validation, classes, seed)
    return Probe(
        lambda codes: made.probability(scaler.transform(codes)), made.setting, made.converged
    )


def probe(
    train: tuple[Floats, Classes],
    test: tuple[Floats, Classes],
    *,
    classes: int,
    seeds: int,
    names: Sequence[str] = PROBES,
    adjust: Callable[[Floats], Floats] = lambda probability: probability,
) -> dict[str, ProbeScores]:
    """Fit fresh probes on codes of training images and score them on held-out ones.

    Args:
        train: codes N x d and classes N.
        test: as ``train``; a class that training has not is ``scores.UNSEEN``.
        seeds: how many fits of each kind.
        adjust: what probabilities N x classes go through before they are scored.

    Raises:
        UserError: a code is not finite.
    """
    check_finite(test[0])
    return {name: _probe(name, train, test, classes, seeds, adjust) for name in names}


def check_finite(x: Floats) -> None:
    """Refuse codes that no one can read.

    Raises:
        UserError: a code is not finite.
    """
    if not np.isfinite(x).all():
        raise UserError(
            "Some codes of this model are not finite numbers, so nothing can be read from them; "
            "use an earlier checkpoint, or train again."
        )


def kept_by(seed: int, y: Classes) -> NDArray[np.bool_]:
    """Return the training images that a seed fits on, as a mask."""
    return ~held_out(y, LEFT_OUT, random=randomness.generator(seed, "probe", "left out"))


def _probe(
    name: str,
    train: tuple[Floats, Classes],
    test: tuple[Floats, Classes],
    classes: int,
    seeds: int,
    adjust: Callable[[Floats], Floats],
) -> ProbeScores:
    scores: list[tuple[ClassScores, ClassScores]] = []
    fitted: list[Probe] = []
    for seed in range(seeds):
        kept = kept_by(seed, train[1])
        x, y = train[0][kept], train[1][kept]
        made = fit(name, x, y, classes=classes, seed=seed)
        fitted.append(made)
        scores.append(
            (
                score(adjust(made.probability(x)), y),
                score(adjust(made.probability(test[0])), test[1]),
            )
        )
    return ProbeScores(
        train=tuple(pair[0] for pair in scores),
        test=tuple(pair[1] for pair in scores),
        settings=tuple(made.setting for made in fitted),
        converged=all(made.converged for made in fitted),
    )
