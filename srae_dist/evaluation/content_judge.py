"""A judge that reads the content label: trained on real images of a domain, shown translations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from srae_dist.core import randomness
from srae_dist.core.errors import UserError
from srae_dist.evaluation.answers import Answers
from srae_dist.evaluation.domain_judge import passing
from srae_dist.evaluation.encode import Pixels
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.scores import baselines, spread
from srae_dist.evaluation.small_cnn import Fit, SmallCnn, fit, labelled, read
from srae_dist.evaluation.subsets import UNSEEN

Rights = list[NDArray[np.bool_]]  # whether each image is read rightly, an entry a seed


@dataclass(frozen=True, slots=True)
class Judges:
    """Networks that read the labels of a domain, one a seed."""

    classes: tuple[str, ...]  # the labels that training images of the domain have
    networks: tuple[SmallCnn, ...]
    labels: NDArray[np.int64]  # of the training images

    def numbers(self, labels: NDArray[np.str_]) -> NDArray[np.int64]:
        """Return labels as classes; ``UNSEEN`` where training images have none such."""
        table = {name: number for number, name in enumerate(self.classes)}
        return np.array([table.get(str(label), UNSEEN) for label in labels], np.int64)

    def right(self, images: Pixels, labels: NDArray[np.str_]) -> Rights:
        """Tell for every seed and image whether the answer is the label."""
        truth = self.numbers(labels)
        return [read(network, images).argmax(axis=1) == truth for network in self.networks]


def train_judges(
    images: Encoded,
    *,
    label: str,
    settings: Fit,
    seeds: Sequence[int],
    device: str | torch.device = "cpu",
) -> Judges | None:
    """Train a judge for each seed on a domain's images that have the label.

    Returns:
        None if these show fewer than two classes.
    """
    labels = images.labels[label]
    known = labels != ""
    classes = tuple(str(name) for name in np.unique(labels[known]))
    if len(classes) < 2:
        return None
    numbers = Judges(classes, (), np.empty(0, np.int64)).numbers(labels[known])
    pixels = images.pixels[known]
    networks = []
    for seed in seeds:
        named = randomness.seed_of(seed, "content judge")
        batches = labelled(pixels, numbers, settings=settings, seed=named)
        networks.append(
            fit(
                batches,
                outputs=len(classes),
                loss=F.cross_entropy,
                settings=settings,
                seed=named,
                device=device,
            )
        )
    return Judges(classes, tuple(networks), numbers)


def check_label(train: Encoded, test: Encoded, label: str) -> None:
    """Refuse a label that no image has.

    Raises:
        UserError: there is none.
    """
    if label not in train.labels or label not in test.labels:
        raise UserError(
            f"No image has a content label '{label}', which the judges are to read; make shards "
            "with `srae-dist shard --label-regex`."
        )


def judge_content(
    train: Encoded,
    test: Encoded,
    made: Answers,
    *,
    label: str,
    domain_judges: Sequence[SmallCnn],
    settings: Fit,
    seeds: Sequence[int],
    device: str | torch.device = "cpu",
) -> dict[str, dict[str, Any]]:
    """Judge every ordered pair for which the target has a judge and the sources have labels.

    Args:
        domain_judges: of all domains, one a seed: who passes as the target, too, is counted.

    Returns:
        By pair ("usps_to_mnist") what ``judges.judged`` documents.

    Raises:
        UserError: there is no such pair.
    """
    values = {}
    for t, target in enumerate(test.domains):
        sources = [s for s in range(len(test.domains)) if s != t and _labelled(test, s, label)]
        judges = train_judges(
            train.of(t), label=label, settings=settings, seeds=seeds, device=device
        )
        if judges is None or not sources:
            continue
        own = _own(judges, test, made, t, label)
        for s in sources:
            found = _pair(judges, domain_judges, test, made, s, t, label)
            values[f"{test.domains[s]}_to_{target}"] = found | own
    if not values:
        raise UserError(
            f"No translation can be judged by its content label '{label}': every judge needs two "
            "labels among the training images of its domain, and labelled test images of another."
        )
    return {name: values[name] for name in _in_order(test.domains) if name in values}


def _pair(
    judges: Judges,
    domain_judges: Sequence[SmallCnn],
    test: Encoded,
    made: Answers,
    s: int,
    t: int,
    label: str,
) -> dict[str, Any]:
    source = test.of(s)
    labels, known = source.labels[label], source.labels[label] != ""
    wanted = labels[known]
    translated = made.by_mean_code[s, t][known]
    right = judges.right(translated, wanted)
    passes = passing(domain_judges, translated, t)
    guess = baselines(judges.labels, judges.numbers(wanted), classes=len(judges.classes))
    return {
        **spread("accuracy", _means(right)),
        **spread("both", _means([a & b for a, b in zip(right, passes, strict=True)])),
        **spread("by_reference", _means(judges.right(made.by_reference[s, t][known], wanted))),
        **spread("source", _means(judges.right(source.pixels[known], wanted))),
        "chance": guess.chance,
        "majority": guess.majority,
        "per_label": {
            str(name): float(np.mean([each[wanted == name].mean() for each in right]))
            for name in np.unique(wanted)
        },
        "images": len(wanted),
        "train_images": len(judges.labels),
    }


def _own(judges: Judges, test: Encoded, made: Answers, t: int, label: str) -> dict[str, Any]:
    """Return how the target's own images are read: real ones, and reconstructed ones."""
    real = test.of(t)
    known = real.labels[label] != ""
    if not known.any():
        return {**spread("ceiling", []), **spread("reconstruction", [])}
    wanted = real.labels[label][known]
    return {
        **spread("ceiling", _means(judges.right(real.pixels[known], wanted))),
        **spread("reconstruction", _means(judges.right(made.reconstructed[t][known], wanted))),
    }


def _labelled(test: Encoded, domain: int, label: str) -> bool:
    return bool((test.of(domain).labels[label] != "").any())


def _means(rights: Rights) -> list[float]:
    return [float(right.mean()) for right in rights]


def _in_order(domains: Sequence[str]) -> list[str]:
    return [f"{s}_to_{t}" for s in domains for t in domains if s != t]
