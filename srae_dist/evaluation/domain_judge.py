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
from torch.nn import functional as F

from srae_dist.core import randomness
from srae_dist.evaluation.answers import Answers
from srae_dist.evaluation.encode import Pixels
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.scores import spread
from srae_dist.evaluation.small_cnn import Fit, SmallCnn, fit, labelled, read


def judge_domains(
    train: Encoded,
    test: Encoded,
    made: Answers,
    *,
    settings: Fit,
    seeds: Sequence[int],
    device: str | torch.device = "cpu",
) -> dict[str, dict[str, Any]]:
    """Judge every ordered pair; by pair ("usps_to_mnist") what ``judges.judged`` documents."""
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
    own = [_own(networks, test, made, t) for t in range(len(test.domains))]
    return {
        f"{test.domains[s]}_to_{test.domains[t]}": {
            **spread("passes", _passes(networks, made.by_mean_code[s, t], t)),
            **spread("by_reference", _passes(networks, made.by_reference[s, t], t)),
            **spread("source", _passes(networks, test.of(s).pixels, t)),
            **own[t],
            "chance": 1.0 / len(test.domains),
            "images": len(made.by_mean_code[s, t]),
            "train_images": len(train),
        }
        for s, t in itertools.permutations(range(len(test.domains)), 2)
    }


def _own(networks: Sequence[SmallCnn], test: Encoded, made: Answers, target: int) -> dict[str, Any]:
    """Return how often the target's own images pass: real ones, and reconstructed ones."""
    return {
        **spread("ceiling", _passes(networks, test.of(target).pixels, target)),
        **spread("reconstruction", _passes(networks, made.reconstructed[target], target)),
    }


def _passes(networks: Sequence[SmallCnn], images: Pixels, target: int) -> list[float]:
    """Return for every seed the share of images that are taken for the target domain's."""
    return [float(np.mean(read(net, images).argmax(axis=1) == target)) for net in networks]
