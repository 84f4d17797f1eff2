"""Shared memory that worker processes decode into and the main process copies batches out of.

It is made once. Handing each batch over as a file of its own, as torch does, costs the main process
a fifth of what decoding costs a worker, and both of them fresh pages.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LINE = 64  # bytes of a cache line


class Slots:
    """``count`` places for batches of uint8 N H W 3. Sent to a process, it is the same memory."""

    def __init__(self, count: int, *, images: int, size: int) -> None:
        self._shape = (images, size, size, 3)
        self._bytes = images * size * size * 3
        self._stride = -(-self._bytes // _LINE) * _LINE
        # not at a multiple of 32 bytes: see resize.empty_pixels
        memory = torch.empty(count * self._stride + 16, dtype=torch.uint8)
        self._memory: Tensor = memory.share_memory_()  # type: ignore[no-untyped-call]
        self._count = count

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """Return the place that batch ``number`` has; batches far enough apart share one."""
        begin = number % self._count * self._stride + 16
        pixels: NDArray[np.uint8] = self._memory.numpy()[begin : begin + self._bytes]
        return pixels.reshape(self._shape)

    def take(self, number: int, *, pin: bool) -> Tensor:
        """Return a copy of a batch, page-locked if ``pin``; its place is free then."""
        copy = torch.empty(self._shape, dtype=torch.uint8, pin_memory=pin)
        return copy.copy_(torch.from_numpy(self[number]))
