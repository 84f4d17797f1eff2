"""The image critic: does this picture look as if it came from that domain?

Unlike q_c and q_d it looks at images, so it sees what a perceptual loss forgives: blur. It sees
them as the perceptual loss does, in the features of VGG-16, and need not learn first what there is
to see (Sauer et al. 2021). One network serves all domains (Choi et al. 2020), and it answers for
places, not for the whole picture (Isola et al. 2017): many opinions of few images.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from srae_dist.model.blocks import Down, memory_format_of, stage_widths

_WIDEST = 4  # times the width at full resolution


class Critic(nn.Module):
    """Features of N images, N C H W a layer, and domains N to logits N L: above 0 is real.

    L counts the places of all layers. Plain convolutions and leaky rectifiers, no norm: the answer
    must not depend on other images.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],  # channels, and height = width, of each layer
        *,
        image_size: int,
        code_size: int,  # a = b: layers are halved until they are about as large as a code map
        width: int,  # channels at full resolution; doubled at each halving, twice at most
        num_domains: int,  # m
    ) -> None:
        super().__init__()
        widest = _WIDEST * width
        widths = stage_widths(width, widest, _halvings(image_size, code_size) + 1)
        self.heads = nn.ModuleList(
            _Head(channels, widths[_halvings(image_size, size) :] or [widest], num_domains)
            for channels, size in shapes
        )

    def forward(self, features: Sequence[Tensor], domains: Tensor) -> Tensor:
        layers = zip(self.heads, features, strict=True)
        return torch.cat([head(h, domains) for head, h in layers], dim=1)


class _Head(nn.Module):
    """One layer's features N C H W, and domains N, to logits N (a b)."""

    def __init__(self, channels: int, widths: Sequence[int], num_domains: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 1), nn.LeakyReLU(0.2)]
        for narrow, wide in itertools.pairwise(widths):
            layers.extend([Down(narrow, wide), nn.LeakyReLU(0.2)])
        layers.extend([nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.LeakyReLU(0.2)])
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(widths[-1], num_domains)

    def forward(self, h: Tensor, domains: Tensor) -> Tensor:
        first = self.layers[0]
        assert isinstance(first, nn.Conv2d)
        h = self.layers(h.contiguous(memory_format=memory_format_of(first.weight)))
        # no matrix product, which autocast would round: slopes are small differences of logits
        asked = self.out.weight[domains, :, None]
        logits: Tensor = (h.float().flatten(2) * asked).sum(dim=1) + self.out.bias[domains, None]
        return logits


def _halvings(size: int, smaller: int) -> int:
    return (size // smaller).bit_length() - 1
