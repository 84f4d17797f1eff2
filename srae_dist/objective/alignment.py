"""How far apart are the domains' content codes as distributions? The energy distance of a batch.

A second opinion beside q_c: it has no weights, so it is never behind the encoder and never fooled
by it, but it compares the codes of one batch only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALL = 1e-6  # under the root: the distance of a code to itself has no gradient


def energy_distance(codes: Tensor, domains: Tensor, *, num_domains: int) -> Tensor:
    """Mean over pairs of domains of 2 E|X - Y| - E|X - X'| - E|Y - Y'|, without bias.

    Zero, in expectation, exactly where all domains have one distribution (Szekely & Rizzo 2013). It
    is a mean over pairs of one micro-batch, so the gradient of several is unbiased, too.

    Args:
        codes: P N d; the P views are measured one by one, and their mean is returned.
        domains: int64 N. A domain with fewer than two images takes no part.
    """
    square = (codes[:, :, None] - codes[:, None]).square().sum(dim=3)
    distance = (square + _SMALL).sqrt().mean(dim=0) - _SMALL**0.5
    member = F.one_hot(domains, num_domains).to(distance.dtype)
    count = member.sum(dim=0)
    share = member / count.clamp(min=1)
    mean = (distance[:, :, None] * share[None]).sum(dim=1)  # N m; no matrix products, which
    mean = (share[:, :, None] * mean[:, None]).sum(dim=0)  # m m; autocast would round
    own = mean.diagonal() * (count / (count - 1).clamp(min=1))  # pairs of two different images
    gap = 2 * mean - own[:, None] - own[None, :]
    there = (count >= 2).to(distance.dtype)
    pairs = torch.triu(there[:, None] * there[None, :], diagonal=1)
    between: Tensor = (gap * pairs).sum() / pairs.sum().clamp(min=1)
    return between


def code_distance(z: Tensor, domains: Tensor, *, num_domains: int) -> Tensor:
    """Energy distance of content codes N k a b: of the whole codes, and position by position."""
    z = z.float()
    n, k = z.shape[:2]
    whole = energy_distance(z.reshape(1, n, -1), domains, num_domains=num_domains)
    local = z.flatten(2).permute(2, 0, 1)  # (a b) N k
    here = energy_distance(local, domains, num_domains=num_domains)
    both: Tensor = whole / z[0].numel() ** 0.5 + here / k**0.5
    return both
