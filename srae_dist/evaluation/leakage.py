"""Leakage and completeness: what fresh probes read from each code of images they have not seen.

The paper's aim (Sec. 3): z_c holds nothing of the domain, z_d all of it. Probes are fitted on codes
of training images and scored on held-out ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness
from srae_dist.evaluation import subsets
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.leakage_tables import describe, make_tables
from srae_dist.evaluation.probes import probe
from srae_dist.evaluation.regression import REGRESSORS, probe_factors
from srae_dist.evaluation.scores import baselines
from srae_dist.evaluation.section import Section

_MOST_CLASSES = 100  # of a label that probes are fitted to
_IMAGES_A_CLASS = 10  # at least, on average: a label of fewer is a name

Floats = NDArray[Any]
Numbers = NDArray[np.int64]


def leakage(
    train: Encoded, test: Encoded, *, seeds: int = 3, in_training: Mapping[str, float] | None = None
) -> Section:
    """Read domain, content labels and factors from content and domain codes by fresh probes.

    Args:
        train: encoded training images; ``test``: held-out ones.
        seeds: fits of each probe, at least 1; each on nine tenths of its own.
        in_training: the discriminators' accuracy in training by name, from ``read_in_training``.

    Returns:
        Section "leakage", values: ``domain_from_content`` and ``domain_from_domain_code``, each
        {probe: {accuracy, accuracy_std, balanced_accuracy, ...}}; ``chance`` and ``majority``;
        ``leakage`` (best probe of the content code less chance) and its ``leakage_probe``;
        ``completeness`` (best probe of the domain code); ``labels`` {name: {from_content, ...}};
        ``factors`` {name: {from_content: {ridge, ridge_std, mlp, mlp_std}, ...}} in R2, and
        ``factors_converged``; ``in_training``; ``images`` and ``seeds``.

    Raises:
        UserError: a code is not finite.
    """
    labels, passed = _usable_labels(train, test)
    factors, converged = _factors(train, test, seeds)
    values = {
        **_domains(train, test, seeds),
        "labels": {name: _label(name, train, test, seeds) for name in labels},
        "labels_passed_over": passed,
        "factors": factors,
        "factors_converged": converged,
        "in_training": dict(in_training or {}),
        "seeds": seeds,
    }
    return Section(
        name="leakage",
        title="Leakage: what a fresh probe reads from each code",
        text=describe(values),
        values=values,
        tables=make_tables(values),
    )


def _codes(encoded: Encoded) -> dict[str, Floats]:
    return {"content": encoded.flat_content, "domain_code": encoded.domain_code}


def _domains(train: Encoded, test: Encoded, seeds: int) -> dict[str, Any]:
    """Domain from each code; of every domain as many images, so that chance is 1 / m."""
    train, test = (_equal(part, name) for part, name in ((train, "train"), (test, "test")))
    m = len(train.domains)
    base = baselines(train.domain, test.domain, classes=m)
    found = {
        code: {
            name: scores.values()
            for name, scores in probe(
                (x, train.domain), (_codes(test)[code], test.domain), classes=m, seeds=seeds
            ).items()
        }
        for code, x in _codes(train).items()
    }
    best = max(found["content"], key=lambda name: float(found["content"][name]["accuracy"]))
    return {
        **{f"domain_from_{code}": scores for code, scores in found.items()},
        "chance": base.chance,
        "majority": base.majority,
        "leakage": found["content"][best]["accuracy"] - base.chance,
        "leakage_probe": best,
        "completeness": max(scores["accuracy"] for scores in found["domain_code"].values()),
        "images": {"train": len(train), "test": len(test)},
        "domains": list(train.domains),
    }


def _equal(encoded: Encoded, name: str) -> Encoded:
    random = randomness.generator(0, "leakage", name)
    return encoded.take(subsets.equal(encoded.domain, random=random))


def _usable_labels(train: Encoded, test: Encoded) -> tuple[list[str], list[str]]:
    """Return the labels that probes can be fitted to, and the others."""
    usable = []
    for name, texts in train.labels.items():
        known = texts[texts != ""]
        classes = len(np.unique(known))
        enough = len(known) >= _IMAGES_A_CLASS * classes
        there = name in test.labels and bool(np.isin(test.labels[name], known).any())
        if 2 <= classes <= _MOST_CLASSES and enough and there:
            usable.append(name)
    return usable, [name for name in train.labels if name not in usable]


def _label(name: str, train: Encoded, test: Encoded, seeds: int) -> dict[str, Any]:
    """A content label from each code, over all domains together."""
    train, test = (part.take(part.labels[name] != "") for part in (train, test))
    names, y, truth = subsets.numbered(train.labels[name], test.labels[name])
    base = baselines(y, truth, classes=len(names))
    found = {
        f"from_{code}": {
            kind: scores.values()
            for kind, scores in probe(
                (x, y), (_codes(test)[code], truth), classes=len(names), seeds=seeds
            ).items()
        }
        for code, x in _codes(train).items()
    }
    return {
        **found,
        "classes": names,
        "chance": base.chance,
        "majority": base.majority,
        "images": {"train": len(train), "test": len(test)},
        "test_images_of_unseen_classes": int(np.count_nonzero(truth == subsets.UNSEEN)),
    }


def _factors(train: Encoded, test: Encoded, seeds: int) -> tuple[dict[str, Any], bool]:
    """R2 of every factor from each code, over the images that have them all; and whether all fits
    converged."""
    names = [name for name in train.factors if name in test.factors]
    if not names:
        return {}, True
    train, test = (part.take(_has_all(part, names)) for part in (train, test))
    if not len(train) or not len(test):
        return {}, True
    truth = [np.stack([part.factors[name] for name in names], axis=1) for part in (train, test)]
    found = {
        f"from_{code}": probe_factors((x, truth[0]), (_codes(test)[code], truth[1]), seeds=seeds)
        for code, x in _codes(train).items()
    }
    values = {
        name: {
            source: {
                f"{kind}{suffix}": scores[kind][f"r2{suffix}"][place]
                for kind in REGRESSORS
                for suffix in ("", "_std")
            }
            for source, scores in found.items()
        }
        for place, name in enumerate(names)
    }
    return values, all(scores[kind]["converged"] for scores in found.values() for kind in scores)


def _has_all(encoded: Encoded, names: Sequence[str]) -> NDArray[np.bool_]:
    table = np.stack([encoded.factors[name] for name in names])
    return np.asarray(np.isfinite(table).all(axis=0))
