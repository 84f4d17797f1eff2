"""Whose domain code does an image borrow, when translations are made while training?"""

from __future__ import annotations

import torch
from torch import Tensor

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
