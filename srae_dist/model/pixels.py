"""Pixels to floats and back: uint8 N H W C on disk, float N C H W in [-1, 1] in the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IN_CACHE = 200_000  # floats that are worked on at a time


def normalise(images: Tensor) -> Tensor:
    """uint8 N H W C to float32 N C H W in [-1, 1]; a view of channels-last memory."""
    levels = rearrange(images, "n h w c -> n c h w")
    if levels.device.type != "cpu":
        return levels.float() / 127.5 - 1.0
    x = torch.empty_like(levels, dtype=torch.float32)  # on a CPU, memory costs more than arithmetic
    count = max(1, _IN_CACHE // max(1, levels[:1].numel()))
    for start in range(0, len(x), count):
        part = slice(start, start + count)
        x[part].copy_(levels[part]).div_(127.5).sub_(1.0)
    return x


def to_float(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 N H W C pixels to a float batch N C H W in [-1, 1] on ``device``."""
    return normalise(torch.from_numpy(np.ascontiguousarray(images)).to(device))


def to_uint8(x: Tensor) -> NDArray[np.uint8]:
    """Float N C H W in [-1, 1] (clamped) to uint8 N H W C pixels."""
    levels = ((x.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return rearrange(levels, "n c h w -> n h w c").contiguous().cpu().numpy()
