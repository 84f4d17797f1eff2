"""One optimizer, a parameter group per player: each has its own rate, betas and clipping."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from srae_dist.engine.schedule import learning_rate
from srae_dist.objective.routing import player_of
from srae_dist.recipe.schema import Train

_LEARNERS = ("autoencoder", "tuned")  # of what to show; the others judge them


def players(objective: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Learning parameters of each player: ``autoencoder``, perhaps its ``tuned`` VGG-16, ``q_c``,
    perhaps ``q_d`` and ``critic``."""
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(player_of(name), []).append(parameter)
    return groups


def make_optimizer(groups: Mapping[str, list[nn.Parameter]], train: Train) -> torch.optim.AdamW:
    """AdamW over all players; fused kernels, which take no Python per parameter."""
    parameters = [
        {
            "params": members,
            "player": name,
            "lr": _base_rate(name, train),
            "betas": train.betas if name in _LEARNERS else train.discriminator_betas,
        }
        for name, members in groups.items()
    ]
    return torch.optim.AdamW(parameters, weight_decay=train.weight_decay, eps=1e-8, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, step: int, train: Train) -> None:
    """Give every group the learning rate of ``step``."""
    for group in optimizer.param_groups:
        player = group["player"]
        constant = player in ("q_c", "q_d") and train.discriminator_schedule == "constant"
        schedule = "constant" if constant else train.schedule
        group["lr"] = learning_rate(step, _base_rate(player, train), train, schedule)


def clip_players(groups: Mapping[str, list[nn.Parameter]], limit: float) -> dict[str, torch.Tensor]:
    """Clip each player's gradients to ``limit``; return the norms before clipping."""
    return {
        name: torch.nn.utils.clip_grad_norm_(members, limit, foreach=True)
        for name, members in groups.items()
    }


def _base_rate(player: str, train: Train) -> float:
    rates = {"autoencoder": train.lr, "tuned": train.tuned_lr, "critic": train.critic_lr}
    return rates.get(player, train.discriminator_lr)
