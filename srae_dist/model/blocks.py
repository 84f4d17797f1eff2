"""The few layers everything is built of.

Pre-activation residual blocks with group norm. Group norm keeps no batch statistics, so a sample's
codes never depend on its neighbours or on the rank; and its groups are wider than one channel, so
the constant map of a domain code is not normalised away.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP_CHANNELS = 16  # of eight, group norm's gradient takes a CPU seven times as long

# torch 2.11 crashes on CPUs in the gradient of a channels-last group norm whose input wants none,
# as features do that were cut off for one stream's sake; 2.14 does not
_NORM_CRASHES = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14)


def norm(channels: int) -> nn.GroupNorm:
    """Group norm over groups of 16 channels, or of 8 where 16 does not divide them."""
    groups = channels // math.gcd(channels, GROUP_CHANNELS)
    return (_CarefulNorm if _NORM_CRASHES else nn.GroupNorm)(groups, channels)


class _CarefulNorm(nn.GroupNorm):
    """Group norm that always works out its input's gradient, wanted or not."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not x.requires_grad and x.device.type == "cpu":
            x = x.detach().requires_grad_()
        return super().forward(x)


def stage_widths(width: int, max_width: int, stages: int) -> list[int]:
    """Channels from full resolution down to the code: doubled at each halving, bounded."""
    return [min(width * 2**stage, max_width) for stage in range(stages)]


class ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))), N C H W to N C H W.

    The last convolution starts small, so that a deep stack starts as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))  # type: ignore[no-any-return]


class Down(nn.Module):
    """Halve the resolution with a strided convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class Style(nn.Module):
    """Give features N C H W the scales and shifts that a code N j asks for (adaptive group norm).

    Starts as plain group norm, so that a fresh decoder sees all of its input.
    """

    def __init__(self, code_channels: int, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.out = nn.Linear(code_channels, 2 * channels)
        with torch.no_grad():
            self.out.weight *= 0.1
            self.out.bias.zero_()

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        scale, shift = self.out(code)[:, :, None, None].chunk(2, dim=1)
        return self.norm(x) * (1 + scale) + shift  # type: ignore[no-any-return]


class DoublingConv2d(nn.Conv2d):
    """Nearest neighbours, then a 3 x 3 convolution, N C H W to N D 2H 2W, in one go.

    An enlarged image says everything four times, and the convolution would multiply it as often. A
    transposed convolution by the kernel that is widened instead gives the same sums with 16
    products for 36.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, widened(self.weight), self.bias, stride=2, padding=1)


def widened(weight: Tensor) -> Tensor:
    """Turn a 3 x 3 convolution's weight, D C 3 3, into the transposed one's, C D 4 4.

    Neighbouring taps meet the same pixel of the image that was not enlarged, so they are added.
    """
    w = weight.transpose(0, 1).flip(2, 3)
    w = F.pad(w, (0, 1)) + F.pad(w, (1, 0))
    w = F.pad(w, (0, 0, 0, 1)) + F.pad(w, (0, 0, 1, 0))
    return w.contiguous(memory_format=memory_format_of(weight))


class Up(nn.Module):
    """Double the resolution: nearest neighbour, then a convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = DoublingConv2d(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


def memory_format_of(weight: Tensor) -> torch.memory_format:
    """Return the layout of a convolution's weight, which its input should share."""
    last = weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
