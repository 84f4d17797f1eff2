"""Pixels to floats and back: uint8 N H W C on disk, float N C H W in [-1, 1] in the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


def normalise(images: Tensor) -> Tensor:
    """uint8 N H W C to float32 N C H W in [-1, 1]; a view of channels-last memory."""
    x = rearrange(images, "n h w c -> n c h w").float()
    return x.div_(127.5).sub_(1.0)  # in place: fresh memory costs more than the arithmetic


def to_float(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 N H W C pixels to a float batch N C H W in [-1, 1] on ``device``."""
    return normalise(torch.from_numpy(np.ascontiguousarray(images)).to(device))


def to_uint8(x: Tensor) -> NDArray[np.uint8]:
    """Float N C H W in [-1, 1] (clamped) to uint8 N H W C pixels."""
    levels = ((x.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return rearrange(levels, "n c h w -> n h w c").contiguous().cpu().numpy()
