"""Pixels in memory, and their square: the centre cut out and made smaller with antialiasing.

What is at least twice too large is halved, each pixel the mean of four, as often as that goes; what
remains to be done, less than a halving, is bicubic. So a large image costs little more than its
decoding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.memory import empty_bytes

_LINE = 64  # bytes of a cache line

Pixels = NDArray[np.uint8]  # H W 3


def empty_pixels(*shape: int) -> NDArray[np.uint8]:
    """Return memory for pixels to be decoded into, uint8, at an address of 16 more than k x 64.

    Where rows are aligned to 32 bytes, libjpeg-turbo stores past the caches, and decoding takes 1.1
    to 1.5 times as long, whoever reads the pixels next.
    """
    size = math.prod(shape)
    raw = empty_bytes(size + 2 * _LINE)
    begin = -raw.ctypes.data % _LINE + 16
    return raw[begin : begin + size].reshape(shape)


def resize_square(pixels: Pixels, size: int) -> Pixels:
    """Cut the largest centred square and resize it, antialiased, to ``size x size x 3``.

    Pixels that have the size already are returned as they are.
    """
    height, width = pixels.shape[:2]
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    while side >= 2 * size:
        side //= 2
        square = _halved(square[: 2 * side, : 2 * side], side)
    return square if side == size else _bicubic(square, size)


def _halved(square: Pixels, side: int) -> Pixels:
    resize, area = _opencv()
    half: Pixels = resize(square, (side, side), interpolation=area)
    return half


def _bicubic(square: Pixels, size: int) -> Pixels:
    """Resize as Pillow does for bytes, in fixed point, but several times faster."""
    tensor, interpolate = _torch()
    if not (square.flags.c_contiguous and square.flags.writeable):
        square = square.copy()
    image = tensor(square)[None].permute(0, 3, 1, 2)  # so it counts as channels-last, and stays so
    small = interpolate(image, (size, size), mode="bicubic", antialias=True)
    pixels: Pixels = small.permute(0, 2, 3, 1).contiguous().numpy()[0]
    return pixels


@functools.cache
def _opencv() -> tuple[Callable[..., Any], int]:
    """Return OpenCV's resizing and its mean over areas; imported when there is need of it."""
    import cv2

    cv2.setNumThreads(1)  # images are shared among processes
    return cv2.resize, cv2.INTER_AREA


@functools.cache
def _torch() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return torch's functions once: importing takes seconds, and looking up takes its time."""
    import torch
    from torch.nn.functional import interpolate

    return torch.from_numpy, interpolate
