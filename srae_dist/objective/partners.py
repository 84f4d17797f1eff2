"""Whose domain code does an image borrow while training, to be translated or reconstructed?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from srae_dist.core import randomness


def partners(domains: Tensor, slots: Tensor, key: int) -> Tensor:
    """For each of N images the place, int64, of another one of the micro-batch.

    It is drawn at random among the images of other domains; where there are none, from all. The
    draw is a function of both images' slots and the key.
    """
    rows = randomness.hash_bits(slots, key)[:, None]
    draw = randomness.hash_bits(rows ^ slots[None, :], key)
    other = domains[:, None] != domains[None, :]
    return torch.where(other, draw + 2**32, draw).argmax(dim=1)


def fellows(domains: Tensor, slots: Tensor, key: int) -> Tensor:
    """For each of N images the place, int64, of another image of its domain in the micro-batch.

    Where there is none, its own. The draw is a function of both images' slots and the key.
    """
    rows = randomness.hash_bits(slots, key)[:, None]
    draw = randomness.hash_bits(rows ^ slots[None, :], key)
    same = domains[:, None] == domains[None, :]
    rank = torch.where(same, draw + 2**32, torch.zeros_like(draw))
    return rank.fill_diagonal_(1).argmax(dim=1)


def mean_of_others(z: Tensor, domains: Tensor, *, num_domains: int) -> Tensor:
    """For each of N codes (N first) the mean of the others of its domain in the micro-batch.

    Where there is none, the code itself.
    """
    member = F.one_hot(domains, num_domains).to(z.dtype)
    flat = z.flatten(1)
    total = (member[:, :, None] * flat[:, None]).sum(dim=0)[domains]  # no matrix product, which
    count = member.sum(dim=0)[domains, None] - 1  # autocast would round
    mean = (total - flat) / count.clamp(min=1)
    return torch.where(count > 0, mean, flat).reshape(z.shape)
