"""The latent discriminators q_c(z_c) and q_d(z_d): which domain does this code come from?

Plain convolutions and leaky rectifiers, no norm: the answer must not depend on other samples.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from srae_dist.core import randomness
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


_OF_INPUTS = 0.4  # dropout of a perceptron's inputs, as a share of that of its hidden units


class DenseDiscriminator(nn.Module):
    """Code maps N C a b to domain logits N m, position by position at first hand: a perceptron.

    What a fresh probe is, too. The convolutions of ``CodeDiscriminator`` average over positions and
    overlook what tells the domain at one of them alone.
    """

    def __init__(
        self,
        *,
        numbers: int,  # C a b
        num_domains: int,  # m
        width: int,  # hidden units
        dropout: float = 0.0,  # share of hidden units left out where slots are given
        key: int = 0,  # of which ones
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.key = key
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(numbers, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, num_domains),
        )

    def forward(self, z: Tensor, slots: Tensor | None = None) -> Tensor:
        """``slots``: int64 N, name what is left out of each code; without them nothing is."""
        h = z.contiguous()
        for number, layer in enumerate(self.layers):
            if slots is not None and self.dropout and isinstance(layer, nn.Linear):
                rate = self.dropout * (_OF_INPUTS if number == 1 else 1.0)
                stays = randomness.kept(slots, h.shape[1], rate=rate, key=self.key + number)
                h = h * stays.to(h.dtype) / (1.0 - rate)
            h = layer(h)
        return h.float()


class Panel(nn.Module):
    """Several discriminators of one code: their logits below each other, (h N) m."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, z: Tensor, slots: Tensor | None = None) -> Tensor:
        """``slots``: int64 N, where it learns; perceptrons leave out some of what they see."""
        return torch.cat(
            [
                member(z, slots) if isinstance(member, DenseDiscriminator) else member(z)
                for member in self.members
            ]
        )

    def perceptrons(self, z: Tensor, slots: Tensor) -> Tensor:
        """The answers of the dense members alone, where they learn."""
        return torch.cat([m(z, slots) for m in self.members if isinstance(m, DenseDiscriminator)])
