"""How far apart are the domains' content codes in the long run? Running moments of each domain.

How often each value of the code occurs, and each pair of values, averaged over many past batches: a
third opinion beside q_c and the energy distance, which is never behind and hardly noisy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RunningMoments(nn.Module):
    """Moving averages, a domain each, of all products of two of 1, a code's numbers, their squares.

    They are buffers, so checkpoints hold them.
    """

    moments: Tensor
    steps: Tensor

    def __init__(self, *, numbers: int, num_domains: int, rate: float) -> None:
        """``numbers``: k a b; ``rate``: what a batch weighs against the past."""
        super().__init__()
        width = 1 + 2 * numbers
        self.rate = rate
        self.register_buffer("moments", torch.zeros(num_domains, width, width))
        self.register_buffer("steps", torch.zeros(num_domains))

    def forward(self, z: Tensor, domains: Tensor) -> Tensor:
        """Take in codes N k a b; return how far the domains' moments are apart.

        It is the distance in the kernel (1 + f f' / d) squared. The gradient is as large as if the
        batch were all there is, and points to where the running averages would meet.
        """
        z = z.float().flatten(1)
        d = z.shape[1]
        f = torch.cat([torch.ones_like(z[:, :1]), z / d**0.5, z.square() / d**0.5], dim=1)
        member = F.one_hot(domains, len(self.steps)).to(f.dtype)
        count = member.sum(dim=0)
        weighted = (member / count.clamp(min=1)).T[:, :, None] * f  # m N width
        batch = weighted.transpose(1, 2) @ f
        there = (count > 0).to(f.dtype)
        steps = self.steps + there
        rate = there * torch.maximum(1 / steps.clamp(min=1), torch.full_like(steps, self.rate))
        moments = self.moments + rate[:, None, None] * (batch - self.moments)
        gap = moments - moments.mean(dim=0)
        value = d * gap.square().sum() / rate.detach().mean().clamp(min=self.rate)
        with torch.no_grad():
            self.moments.copy_(moments)
            self.steps.copy_(steps)
        return value
