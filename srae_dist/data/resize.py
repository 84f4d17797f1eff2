"""Pixels to a square of a given size: the centre is cut out and resampled with antialiasing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # H W 3


def resize_square(pixels: Pixels, size: int) -> Pixels:
    """Cut the largest centred square and resize it, antialiased (bicubic), to ``size x size x 3``.

    Pixels that have the size already are returned as they are.
    """
    height, width = pixels.shape[:2]
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    return square if side == size else _resample(square, size)


def _resample(square: Pixels, size: int) -> Pixels:
    """Resize as Pillow does for bytes, in fixed point, but several times faster."""
    import torch
    from torch.nn.functional import interpolate

    image = torch.from_numpy(np.require(square, requirements=["C", "W"])).permute(2, 0, 1)[None]
    small = interpolate(image, (size, size), mode="bicubic", antialias=True, align_corners=False)
    return np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())
