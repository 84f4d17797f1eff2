"""The encoder: a shared trunk f_phi, then a content stream f_c and a domain stream f_d (Fig. 2a).

Both streams give the parameters of normal distributions. The paper writes sigma squared where the
reparameterisation trick needs sigma; here sigma is sigma (docs/method.md, errata).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srae_dist.core.types import Gaussian
from srae_dist.model.blocks import Down, ResidualBlock, norm, stage_widths

SIGMA_FLOOR = 1e-4  # keeps log(sigma) finite; nothing else stops sigma from collapsing in the paper
SIGMA_OFFSET = -2.0  # sigma starts near softplus(-2) = 0.13


class Trunk(nn.Module):
    """f_phi: N 3 H W in [-1, 1] to N C a b features."""

    def __init__(
        self,
        *,
        image_size: int,  # H = W
        code_size: int,  # a = b; image_size / code_size is a power of two
        width: int,  # channels at full resolution
        max_width: int,  # upper bound of the channels
        blocks: int,  # residual blocks per resolution below the full one
    ) -> None:
        super().__init__()
        halvings = (image_size // code_size).bit_length() - 1
        widths = stage_widths(width, max_width, halvings + 1)
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1), nn.SiLU()]
        for channels, out_channels in itertools.pairwise(widths):
            layers.append(Down(channels, out_channels))
            layers.extend(ResidualBlock(out_channels) for _ in range(blocks))
        self.layers = nn.Sequential(*layers)
        self.out_channels = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class ContentStream(nn.Module):
    """f_c: features N C a b to mu_c, sigma_c, each N k a b."""

    def __init__(self, channels: int, code_channels: int, *, levels: int = 0) -> None:
        """``levels`` (0, or 2 and more): see ``AutoEncoder``."""
        super().__init__()
        self.block = ResidualBlock(channels)
        self.norm = norm(channels)
        self.out = nn.Conv2d(channels, 2 * code_channels, 1)
        self.levels = levels

    def forward(self, h: Tensor) -> Gaussian:
        code = _gaussian(self.out(F.silu(self.norm(self.block(h)))))
        return Gaussian(quantised(code.mean, self.levels), code.sigma) if self.levels else code


class DomainStream(nn.Module):
    """f_d: features N C a b to mu_d, sigma_d, each N j (the paper's 1 x 1 x j)."""

    def __init__(self, channels: int, code_channels: int, *, deep: bool = False) -> None:
        """``deep``: three blocks for one, and a halving, where no trunk has learnt before."""
        super().__init__()
        self.block = _stack(channels) if deep else ResidualBlock(channels)
        self.norm = norm(channels)
        self.hidden = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, 2 * code_channels)

    def forward(self, h: Tensor) -> Gaussian:
        pooled = F.silu(self.norm(self.block(h))).mean(dim=(2, 3))
        return _gaussian(self.out(F.silu(self.hidden(pooled))))


def _stack(channels: int) -> nn.Sequential:
    first, *rest = (ResidualBlock(channels) for _ in range(3))
    return nn.Sequential(first, nn.MaxPool2d(2), *rest)


def quantised(x: Tensor, levels: int) -> Tensor:
    """Squash numbers into (-1, 1) and round each to the nearest of ``levels`` equally spaced values
    from -1 to 1 (finite scalar quantisation); the gradient passes as if nothing were rounded."""
    squashed = torch.tanh(x)
    steps = (levels - 1) / 2
    rounded = ((squashed.detach() + 1.0) * steps).round() / steps - 1.0
    return squashed + (rounded - squashed.detach())


def _gaussian(parameters: Tensor) -> Gaussian:
    """Split channels into a mean and a positive sigma, in float32."""
    mean, raw = torch.chunk(parameters.float(), 2, dim=1)
    return Gaussian(mean, F.softplus(raw + SIGMA_OFFSET) + SIGMA_FLOOR)
