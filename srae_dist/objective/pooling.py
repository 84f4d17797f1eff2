"""A domain code that many images share, so that it can tell nothing of a single one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_of_others(z: Tensor, domains: Tensor, *, num_domains: int) -> Tensor:
    """For each of N codes (N first) the mean of the others of its domain in the micro-batch.

    Where there is none, the code itself.
    """
    member = F.one_hot(domains, num_domains).to(z.dtype)
    flat = z.flatten(1)
    total = (member[:, :, None] * flat[:, None]).sum(dim=0)  # no matrix product, which autocast
    others = member.sum(dim=0)[domains, None] - 1  # would round
    mean = (total[domains] - flat) / others.clamp(min=1)
    return torch.where(others > 0, mean, flat).reshape(z.shape)
