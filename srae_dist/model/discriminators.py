"""The latent discriminators q_c(z_c) and q_d(z_d): which domain does this code come from?

Plain convolutions and leaky rectifiers, no norm: the answer must not depend on other samples.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from srae_dist.model.blocks import memory_format_of


class CodeDiscriminator(nn.Module):
    """Code maps N C a b to domain logits N m.

    q_c looks at neighbourhoods (kernel 3); q_d at single positions (kernel 1), since a domain code
    is one vector, broadcast, with fresh noise at each position.
    """

    def __init__(
        self,
        *,
        channels: int,  # k or j
        num_domains: int,  # m
        width: int,  # hidden channels
        kernel: int,  # 3 for q_c, 1 for q_d
    ) -> None:
        super().__init__()
        pad = kernel // 2
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, kernel, padding=pad),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, kernel, padding=pad),
            nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
            nn.Conv2d(width, width, kernel, padding=pad),
            nn.LeakyReLU(0.2),
        )
        self.out = nn.Linear(width, num_domains)

    def forward(self, z: Tensor) -> Tensor:
        first = self.layers[0]
        assert isinstance(first, nn.Conv2d)
        z = z.contiguous(memory_format=memory_format_of(first.weight))
        return self.out(self.layers(z).mean(dim=(2, 3))).float()  # type: ignore[no-any-return]


class DenseDiscriminator(nn.Module):
    """Code maps N C a b to domain logits N m, position by position at first hand: a perceptron.

    What a fresh probe is, too. The convolutions of ``CodeDiscriminator`` average over positions and
    overlook what tells the domain at one of them alone.
    """

    def __init__(self, *, numbers: int, num_domains: int, width: int) -> None:
        """``numbers``: C a b."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(numbers, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, num_domains),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z.contiguous()).float()  # type: ignore[no-any-return]


class Panel(nn.Module):
    """Several discriminators of one code: their logits below each other, (h N) m."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([member(z) for member in self.members])

    def perceptrons(self, z: Tensor) -> Tensor:
        """The answers of the dense members alone."""
        return torch.cat([m(z) for m in self.members if isinstance(m, DenseDiscriminator)])
