"""Classification by codes (paper, Sec. 4.3): probes of z_d against the domain or a content label.

Which kind of probe counts is chosen by cross-validation on training codes, the simplest where it
can hardly tell; test codes are touched once, to score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness
from srae_dist.core.errors import UserError, did_you_mean
from srae_dist.evaluation import subsets
from srae_dist.evaluation.adaptation import nearest_means
from srae_dist.evaluation.classification_tables import SOURCES, describe, make_tables
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.probes import PROBES, fit, probe
from srae_dist.evaluation.scores import (
    Baselines,
    ClassScores,
    baselines,
    score,
    spread,
)
from srae_dist.evaluation.section import Section

FOLDS = 5
DOMAIN = "domain"  # the label that every image has

CodeName = Literal["domain", "content", "both"]
Prior = Literal["natural", "equal"]

Floats = NDArray[Any]
Numbers = NDArray[np.int64]


def classify(
    train: Encoded,
    test: Encoded,
    *,
    code: CodeName = "domain",
    label: str = DOMAIN,
    seeds: int = 3,
    prior: Prior = "natural",
    names: Sequence[str] = PROBES,
    adapt: bool = False,
) -> Section:
    """Fit probes of a code to a label and score them on training and held-out images.

    Args:
        code: what is read: the domain code, the content code, or both.
        label: "domain", or the name of a content label.
        seeds: fits of each probe, each on nine tenths of the training images of its own.
        prior: "natural" answers as often as training has a class; "equal" takes every class to be
            as likely, as training with data.balance = domain does.
        adapt: also classify by the nearest class mean, and by means moved to the test images,
            without their labels. No choice between these and the probes is made.

    Returns:
        Section "classification", values: ``probes`` {name: {cv, train, test}}, each with accuracy,
        balanced_accuracy and auc and their ``_std``, train and test with ``confusion`` (truth x
        answer, mean numbers of images over seeds); ``chosen`` and ``chosen_by``; the chosen
        probe's ``test_accuracy``, ``test_balanced_accuracy``, ``test_auc``, ``train_accuracy``;
        ``chance``, ``majority``, ``classes``, ``images``, ``seeds``, ``code``, ``label`` and
        ``prior``; with ``adapt`` also ``means`` {"nearest_mean", "adapted": {train, test}}.

    Raises:
        UserError: no such label, fewer than two classes, no image has the label, or a code is not
            finite.
    """
    x, texts = _read(train, code, label, "training")
    u, test_texts = _read(test, code, label, "test")
    classes, y, truth = _numbered(texts, test_texts, label)
    adjust = _adjustment(y, len(classes), prior)
    found = probe((x, y), (u, truth), classes=len(classes), seeds=seeds, names=names, adjust=adjust)
    folds = {name: _cross_validate(name, x, y, len(classes), adjust) for name in names}
    measure = "accuracy" if prior == "natural" else "balanced_accuracy"
    chosen = simplest_of_the_best(folds, measure)
    probes = {
        name: {
            "cv": folds[name],
            "train": _values(scores.train),
            "test": _values(scores.test),
            "settings": list(scores.settings),
            "converged": scores.converged,
        }
        for name, scores in found.items()
    }
    values = {
        "code": code,
        "label": label,
        "classes": classes,
        "images": {"train": len(y), "test": len(truth)},
        "train_counts": np.bincount(y, minlength=len(classes)).tolist(),
        "test_images_of_unseen_classes": int(np.count_nonzero(truth == subsets.UNSEEN)),
        "prior": prior,
        "seeds": seeds,
        **_baseline_values(baselines(y, truth, classes=len(classes))),
        "probes": probes,
        "chosen": chosen,
        "chosen_by": f"{measure} over {FOLDS} folds of the training codes: of those within one "
        "standard error of the best, the simplest",
        **_headline(probes[chosen]),
    }
    if adapt:
        scored = nearest_means((x, y), (u, truth), classes=len(classes), seeds=seeds)
        values["means"] = {
            name: {"train": _values(parts[0]), "test": _values(parts[1])}
            for name, parts in scored.items()
        }
    return Section(
        name="classification",
        title=f"Classification: {label} from {SOURCES[code]}",
        text=describe(values),
        values=values,
        tables=make_tables(values),
    )


def simplest_of_the_best(
    folds: Mapping[str, Mapping[str, float | None]], measure: str = "accuracy"
) -> str:
    """Choose a kind of probe by its scores on the folds (Breiman et al. 1984, Sec. 3.4.3).

    The best score alone would choose by chance where folds hardly differ, as those of codes that
    a model has learnt by heart do not.

    Args:
        folds: for each of some kinds of ``PROBES``, ``measure`` and ``{measure}_std`` over folds.

    Returns:
        Of all kinds within one standard error of the best, the first of ``PROBES``.
    """
    means = {name: float(found[measure] or 0.0) for name, found in folds.items()}
    best = max(means, key=lambda name: means[name])
    least = means[best] - float(folds[best][f"{measure}_std"] or 0.0) / math.sqrt(FOLDS)
    return next(name for name in PROBES if name in means and means[name] >= least)


def _read(
    encoded: Encoded, code: CodeName, label: str, part: str
) -> tuple[Floats, NDArray[np.str_]]:
    """Return codes and class names of the images that have the label."""
    if label == DOMAIN:
        texts = np.array(encoded.domains)[encoded.domain]
    elif label in encoded.labels:
        texts = encoded.labels[label]
    else:
        known = [DOMAIN, *encoded.labels]
        raise UserError(
            f"The {part} images have no label '{label}'; choose from {', '.join(known)}."
            f"{did_you_mean(label, known)}"
        )
    has = texts != ""
    if not has.any():
        raise UserError(f"Of the {len(texts)} {part} images none has a label '{label}'.")
    x = {
        "domain": encoded.domain_code,
        "content": encoded.flat_content,
        "both": np.concatenate([encoded.flat_content, encoded.domain_code], axis=1),
    }[code]
    return x[has], texts[has]


def _numbered(
    train: NDArray[np.str_], test: NDArray[np.str_], label: str
) -> tuple[list[str], Numbers, Numbers]:
    classes, y, truth = subsets.numbered(train, test)
    if len(classes) < 2:
        raise UserError(
            f"All training images have the label {label} = '{classes[0]}', so there is nothing to "
            "tell apart; choose another label or split."
        )
    if np.all(truth == subsets.UNSEEN):
        raise UserError(
            f"No test image has a label {label} that a training image has, so no answer could be "
            "right; choose another label or split."
        )
    return classes, y, truth


def _adjustment(y: Numbers, classes: int, prior: Prior) -> Callable[[Floats], Floats]:
    """Return what turns probabilities learnt at training's shares into those asked for."""
    if prior == "natural":
        return lambda probability: probability
    weights = len(y) / np.bincount(y, minlength=classes)

    def equal(probability: Floats) -> Floats:
        weighted = probability * weights
        return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))

    return equal


def _cross_validate(
    name: str, x: Floats, y: Numbers, classes: int, adjust: Callable[[Floats], Floats]
) -> dict[str, float | None]:
    """Score a probe on each fold of the training codes, fitted on the others."""
    fold = subsets.folds(y, FOLDS, random=randomness.generator(0, "classify", "folds"))
    scores = []
    for held in range(FOLDS):
        inside, outside = fold != held, fold == held
        if outside.any() and len(np.unique(y[inside])) == classes:
            made = fit(name, x[inside], y[inside], classes=classes, seed=held)
            scores.append(score(adjust(made.probability(x[outside])), y[outside]))
    return _spreads(scores)


def _spreads(scores: Sequence[ClassScores]) -> dict[str, float | None]:
    return {
        **spread("accuracy", [s.accuracy for s in scores]),
        **spread("balanced_accuracy", [s.balanced_accuracy for s in scores]),
        **spread("auc", [s.auc for s in scores]),
    }


def _values(scores: Sequence[ClassScores]) -> dict[str, Any]:
    mean = np.mean([s.confusion for s in scores], axis=0)
    return {**_spreads(scores), "confusion": mean.round(2).tolist()}


def _baseline_values(base: Baselines) -> dict[str, float]:
    return {"chance": base.chance, "majority": base.majority}


def _headline(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{part}_{measure}": found[part][measure]
        for part in ("train", "test")
        for name in ("accuracy", "balanced_accuracy", "auc")
        for measure in (name, f"{name}_std")
    }
