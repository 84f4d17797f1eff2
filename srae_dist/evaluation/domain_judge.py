"""A judge that tells the domains apart: trained on real images of all of them, shown translations.

It has never seen a translation: one that passes looks more like the target domain than like any
other, which is not yet the same as real.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from srae_dist.core import randomness
from srae_dist.evaluation.answers import Answers
from srae_dist.evaluation.encode import Pixels
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.scores import spread
from srae_dist.evaluation.small_cnn import Fit, SmallCnn, fit, labelled, read


def train_judges(
    train: Encoded, *, settings: Fit, seeds: Sequence[int], device: str | torch.device = "cpu"
) -> list[SmallCnn]:
    """Train a judge for each seed on real images of all domains."""
    networks = []
    for seed in seeds:
        named = randomness.seed_of(seed, "domain judge")
        batches = labelled(train.pixels, train.domain, settings=settings, seed=named)
        networks.append(
            fit(
                batches,
                outputs=len(train.domains),
                loss=F.cross_entropy,
                settings=settings,
                seed=named,
                device=device,
            )
        )
    return networks


def passing(judges: Sequence[SmallCnn], images: Pixels, target: int) -> list[NDArray[np.bool_]]:
    """Tell for every seed and image whether it is taken for the target domain's."""
    return [read(network, images).argmax(axis=1) == target for network in judges]


def judge_domains(
    judges: Sequence[SmallCnn], test: Encoded, made: Answers
) -> dict[str, dict[str, Any]]:
    """Judge every ordered pair; by pair ("usps_to_mnist") what ``judges.judged`` documents."""
    own = [_own(judges, test, made, t) for t in range(len(test.domains))]
    return {
        f"{test.domains[s]}_to_{test.domains[t]}": {
            **spread("passes", _shares(judges, made.by_mean_code[s, t], t)),
            **spread("by_reference", _shares(judges, made.by_reference[s, t], t)),
            **spread("source", _shares(judges, test.of(s).pixels, t)),
            **own[t],
            "chance": 1.0 / len(test.domains),
            "images": len(made.by_mean_code[s, t]),
        }
        for s, t in itertools.permutations(range(len(test.domains)), 2)
    }


def _own(judges: Sequence[SmallCnn], test: Encoded, made: Answers, target: int) -> dict[str, Any]:
    """Return how often the target's own images pass: real ones, and reconstructed ones."""
    return {
        **spread("ceiling", _shares(judges, test.of(target).pixels, target)),
        **spread("reconstruction", _shares(judges, made.reconstructed[target], target)),
    }


def _shares(judges: Sequence[SmallCnn], images: Pixels, target: int) -> list[float]:
    """Return for every seed the share of the images that passes."""
    return [float(each.mean()) for each in passing(judges, images, target)]
