"""Content codes of the last micro-batches, for q_c to learn from again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NOBODY = -1  # the domain of a place that no code has taken yet


class Memory(nn.Module):
    """The last so many content codes, detached, with their domains.

    They are buffers, so that checkpoints hold them; over several ranks all have the first's.
    """

    codes: Tensor
    domains: Tensor

    def __init__(self, *, places: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(places, *shape))
        self.register_buffer("domains", torch.full((places,), NOBODY))

    @torch.no_grad()
    def swap(self, codes: Tensor, domains: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is remembered, then remember these codes instead of the oldest."""
        old = self.codes.clone(), self.domains.clone()
        places = len(old[1])
        known = torch.where(codes.isfinite().all(), domains, torch.full_like(domains, NOBODY))
        new = torch.cat([codes.nan_to_num(0.0, 0.0, 0.0).to(old[0].dtype), old[0]])[:places]
        self.codes.copy_(new)
        self.domains.copy_(torch.cat([known, old[1]])[:places])
        return old
