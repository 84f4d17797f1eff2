"""Pixels in memory, and their square: the centre cut out and resampled with antialiasing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_LINE = 64  # bytes of a cache line

Pixels = NDArray[np.uint8]  # H W 3


def empty_pixels(*shape: int) -> NDArray[np.uint8]:
    """Return memory for pixels to be decoded into, uint8, at an address of 16 more than k x 64.

    Where rows are aligned to 32 bytes, libjpeg-turbo stores past the caches, and decoding takes 1.1
    to 1.5 times as long, whoever reads the pixels next.
    """
    size = math.prod(shape)
    raw = np.empty(size + 2 * _LINE, np.uint8)
    begin = -raw.ctypes.data % _LINE + 16
    return raw[begin : begin + size].reshape(shape)


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
