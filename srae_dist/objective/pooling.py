"""A domain code that many images share, so that it can tell nothing of a single one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_of_others(z: Tensor, domains: Tensor, *, num_domains: int) -> Tensor:
    """For each of N codes (N first) the mean of the others of its domain in the micro-batch.

    Where there is none, the code itself.
    """
    flat = z.flatten(1)
    total, count = _totals(flat, domains, num_domains)
    others = count[domains, None] - 1
    mean = (total[domains] - flat) / others.clamp(min=1)
    return torch.where(others > 0, mean, flat).reshape(z.shape)


def domain_means(z: Tensor, domains: Tensor, *, num_domains: int) -> Tensor:
    """Mean code of each of m domains in the micro-batch, m first; 0 where a domain has none."""
    total, count = _totals(z.flatten(1), domains, num_domains)
    return (total / count[:, None].clamp(min=1)).reshape(num_domains, *z.shape[1:])


def _totals(flat: Tensor, domains: Tensor, num_domains: int) -> tuple[Tensor, Tensor]:
    """Sum of the codes N d of each domain, m d, and how many there are, m."""
    member = F.one_hot(domains, num_domains).to(flat.dtype)
    # no matrix product, which autocast would round
    return (member[:, :, None] * flat[:, None]).sum(dim=0), member.sum(dim=0)
