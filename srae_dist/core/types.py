"""The few values that travel between layers. Shapes: N images, H x W pixels, C = 3 channels;
a content code is k x a x b, a domain code j numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class BadSample(NamedTuple):
    """A sample that could not be read, and what stood in for it."""

    shard: str  # path or URL
    key: str
    reason: str
    substitute: str  # key


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one micro-batch, as the loader hands them to the engine."""

    images: Tensor  # uint8, N H W C
    domains: Tensor  # int64, N: index into the manifest's domain names
    slots: Tensor  # int64, N: step * global batch + place in the global batch; names the randomness
    keys: tuple[str, ...]  # the samples' keys, for messages
    bad: tuple[BadSample, ...] = ()  # whose places others took

    def pin_memory(self) -> Batch:
        """Page-lock the tensors; those that are stay as they are."""
        return Batch(
            self.images.pin_memory(),
            self.domains.pin_memory(),
            self.slots.pin_memory(),
            self.keys,
            self.bad,
        )

    def to(self, device: torch.device) -> Batch:
        """Copy the tensors to ``device``, without waiting where they are pinned."""
        return Batch(
            self.images.to(device, non_blocking=True),
            self.domains.to(device, non_blocking=True),
            self.slots.to(device, non_blocking=True),
            self.keys,
            self.bad,
        )


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Means and standard deviations of independent normal variables, of equal shape."""

    mean: Tensor
    sigma: Tensor


@dataclass(frozen=True, slots=True)
class Codes:
    """The split representation of N images, as distributions (method.md: mu and sigma)."""

    content: Gaussian  # N k a b
    domain: Gaussian  # N j, broadcast to N j a b by whoever needs the map
