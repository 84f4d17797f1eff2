"""Pixels to floats and back: uint8 N H W C on disk, float N C H W in [-1, 1] in the networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from srae_dist.core.memory import empty_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

# level * (1/128 + rest) - 1, as two products: 255 becomes 1 exactly, as a division would have it
_MOST, _REST = 1 / 128, 1 / 127.5 - 1 / 128


def normalise(images: Tensor) -> Tensor:
    """uint8 N H W C to float32 N C H W in [-1, 1]; a view of channels-last memory."""
    if images.device.type == "cpu" and not torch.compiler.is_compiling():
        return rearrange(_normalise_here(images.contiguous()), "n h w c -> n c h w")
    return rearrange(images, "n h w c -> n c h w").float() / 127.5 - 1.0


def _normalise_here(images: Tensor) -> Tensor:
    """Normalise in one pass: on a CPU, memory costs more than arithmetic."""
    x = torch.from_numpy(empty_bytes(4 * images.numel()).view(np.float32)).view(images.shape)
    if images.numel():
        levels, floats = (
            tensor.numpy().reshape(-1, images.shape[-2] * 3) for tensor in (images, x)
        )
        cv2.addWeighted(levels, _MOST, levels, _REST, -1.0, floats, cv2.CV_32F)
    return x


def to_float(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 N H W C pixels to a float batch N C H W in [-1, 1] on ``device``."""
    return normalise(torch.from_numpy(np.ascontiguousarray(images)).to(device))


def to_uint8(x: Tensor) -> NDArray[np.uint8]:
    """Float N C H W in [-1, 1] (clamped) to uint8 N H W C pixels."""
    levels = ((x.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return rearrange(levels, "n c h w -> n h w c").contiguous().cpu().numpy()
