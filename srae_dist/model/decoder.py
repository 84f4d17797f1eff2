"""The decoder g: concat(z_c, z_d) to an image (Fig. 2b)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srae_dist.model.blocks import ResidualBlock, Style, Up, memory_format_of, norm, stage_widths


class Decoder(nn.Module):
    """z_c N k a b and z_d N j a b to images N 3 H W, nominally in [-1, 1] (not clamped)."""

    def __init__(
        self,
        *,
        image_size: int,
        code_size: int,
        width: int,
        max_width: int,
        blocks: int,
        content_channels: int,  # k
        domain_channels: int,  # j
        modulate: bool = False,
    ) -> None:
        super().__init__()
        halvings = (image_size // code_size).bit_length() - 1
        widths = stage_widths(width, max_width, halvings + 1)[::-1]
        layers: list[nn.Module] = [
            nn.Conv2d(content_channels + domain_channels, widths[0], 3, padding=1),
            ResidualBlock(widths[0]),
        ]
        for channels, out_channels in itertools.pairwise(widths):
            layers.extend(ResidualBlock(channels) for _ in range(blocks))
            layers.append(Up(channels, out_channels))
        self.layers = nn.Sequential(*layers)
        self.styles = nn.ModuleList(
            Style(domain_channels, channels) for channels in widths if modulate
        )
        self.norm = norm(widths[-1])
        self.out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, content: Tensor, domain: Tensor) -> Tensor:
        z = torch.cat([content, domain], dim=1)  # the maps' layouts differ, and theirs from ours
        h = z.contiguous(memory_format=memory_format_of(self.out.weight))
        h = self._styled(h, domain) if self.styles else self.layers(h)
        return self.out(F.silu(self.norm(h)))  # type: ignore[no-any-return]

    def _styled(self, h: Tensor, domain: Tensor) -> Tensor:
        """Run the layers; z_d restyles the first features, and those of every resolution."""
        code = domain.mean(dim=(2, 3))
        styles = iter(self.styles)
        h = next(styles)(self.layers[0](h), code)
        for layer in self.layers[1:]:
            h = layer(h)
            if isinstance(layer, Up):
                h = next(styles)(h, code)
        return h
