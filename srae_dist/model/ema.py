"""An exponential moving average of weights: what is shown, saved for use, and translated with."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def decay_at(step: int, decay: float) -> float:
    """Decay after ``step`` steps: short at first, so that the random start is forgotten."""
    return min(decay, (1 + step) / (10 + step))


class Ema(Generic[M]):
    """A frozen copy of ``module`` whose weights trail behind it."""

    def __init__(self, module: M) -> None:
        self.module: M = copy.deepcopy(module).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, module: M, decay: float, *, counts: Tensor | None = None) -> None:
        """Move the average towards ``module``'s weights by a share of 1 - decay.

        Args:
            counts: 1, or 0 where nothing shall change; a scalar on the device, which need not be
                asked for it.
        """
        share = 1.0 - decay if counts is None else counts * (1.0 - decay)
        for mine, theirs in zip(self.module.parameters(), module.parameters(), strict=True):
            mine.lerp_(theirs, share.to(mine.dtype) if isinstance(share, Tensor) else share)
