"""What each stream is shown, where that is not the image itself.

A code cannot hold what its stream never sees reliably. The content stream is shown other colours
than the image has, so that colours must pass by the domain code; the domain stream is shown the
image in pieces, put together wrongly, so that it sees how things are drawn and not where they are.
The image to be reconstructed stays as it was. When a model is used, both streams see the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from srae_dist.core import randomness


@dataclass(frozen=True)
class Glimpses:
    """Views of images for the two streams: functions of the seed and each sample's slot.

    ``recolour`` is how far, at most, colours move on the way to random mixtures of themselves;
    ``scramble`` is how many pieces a side the domain stream's image is cut into (1: none).
    """

    recolour: float = 0.0
    scramble: int = 1
    seed: int = 0

    @property
    def differ(self) -> bool:
        """Whether the streams see different images."""
        return self.recolour > 0 or self.scramble > 1

    def content(self, x: Tensor, slots: Tensor) -> Tensor:
        """Recolour images N 3 H W in [-1, 1]: x + s (A x + b - x), s uniform up to ``recolour``.

        The rows of A are random directions, so that hues turn and lights may become darks.
        """
        if not self.recolour:
            return x
        key = randomness.seed_of(self.seed, "recolour")
        numbers = randomness.normal(slots, (3, 4), key)
        mix = numbers[:, :, :3]
        mix = mix / mix.square().sum(dim=2, keepdim=True).sqrt().clamp(min=1e-3)
        shift = 0.3 * numbers[:, :, 3, None, None]
        far = self.recolour * randomness.uniform(slots, 1, key)[:, :, None, None]
        moved = (mix[:, :, :, None, None] * x[:, None]).sum(dim=2) + shift
        return (x + far * (moved - x)).clamp(-1, 1)

    def domain(self, x: Tensor, slots: Tensor) -> Tensor:
        """Shuffle the pieces of images N 3 H W, whose side ``scramble`` divides."""
        if self.scramble == 1:
            return x
        g = self.scramble
        key = randomness.seed_of(self.seed, "scramble")
        order = randomness.uniform(slots, g * g, key).argsort(dim=1)
        pieces = rearrange(x, "n c (a h) (b w) -> n (a b) c h w", a=g, b=g)
        pieces = pieces[torch.arange(len(x), device=x.device)[:, None], order]
        return rearrange(pieces, "n (a b) c h w -> n c (a h) (b w)", a=g, b=g)
