"""Everything that varies during a run, as pure functions of the step. Nothing of it is stored."""

from __future__ import annotations

import math
from collections.abc import Sequence

from srae_dist.recipe.schema import Objective, Train


def learning_rate(step: int, base: float, train: Train, schedule: str | None = None) -> float:
    """Learning rate of the update that follows ``step`` finished ones.

    Linear warm-up, then constant, or half a cosine down to zero at the last step (``schedule``;
    default the recipe's).
    """
    if step < train.warmup:
        return base * (step + 1) / (train.warmup + 1)
    if (schedule or train.schedule) == "constant":
        return base
    span = max(1, train.steps - train.warmup)
    return base * 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - train.warmup) / span)))


def endless_warmup(train: Train) -> str | None:
    """Say that the learning rate never arrives where the recipe wants it, if so."""
    if train.warmup < train.steps:
        return None
    return (
        f"train.warmup = {train.warmup:,} is not below train.steps = {train.steps:,}: the learning "
        f"rate never reaches train.lr; set train.warmup to {train.steps // 10} or so."
    )


def term_weights(step: int, names: Sequence[str], objective: Objective) -> list[float]:
    """Weight of each named term at ``step``; confusion and domain weights, and those of what a
    critic says of translations, may grow from 0."""
    growth, later = (
        min(1.0, (step + 1) / max(1, warmup))
        for warmup in (objective.confusion_warmup, objective.critic_warmup)
    )
    weights = {
        "reconstruction": objective.reconstruction_weight,
        "pixel": objective.pixel_weight,
        "confusion": objective.confusion_weight * growth,
        "domain": objective.domain_weight * growth,
        "alignment": objective.alignment_weight * growth,
        "realism": objective.critic_weight * later,
        "content_cycle": objective.content_cycle_weight * later,
        "unlikeness": objective.likeness_weight * later,
        "critic_slope": objective.critic_slope_weight,
        "content_prior": objective.content_prior,
        "domain_prior": objective.domain_prior,
    }
    return [weights.get(name, 1.0) for name in names]  # discriminators learn at full weight
