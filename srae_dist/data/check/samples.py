"""What is noted of a sample: its domain, its sizes, 16 bytes that tell its image from others."""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

import numpy as np

from srae_dist.data.images import Pixels

FLAT_STD = 1.5  # grey levels: an image whose channels all deviate less shows nothing

_GRID = 256  # rows and columns of an image that are looked at for flatness
_LARGEST_SIDE = 1 << 31  # pixels that a .json may claim

SAMPLE = np.dtype(
    [
        ("domain", "<i4"),  # -1: unknown
        ("bytes", "<u4"),  # of the image file
        ("width", "<u4"),  # pixels; 0: it cannot be decoded
        ("height", "<u4"),
        ("original_width", "<u4"),  # pixels before it became a sample; 0: unknown
        ("original_height", "<u4"),
        ("flat", "?"),
        ("digest", "<u8", (2,)),  # of the image file
    ]
)


class Seen(NamedTuple):
    """A row of type SAMPLE."""

    domain: int
    bytes: int
    width: int
    height: int
    original_width: int
    original_height: int
    flat: bool
    digest: tuple[int, int]


def parse_domain(data: bytes) -> int | None:
    """Return the number that a .cls holds."""
    text = data.strip()
    return int(text) if re.fullmatch(rb"[0-9]{1,5}", text) else None


def original_size(info: Any) -> tuple[int, int]:
    """Return the width and height that a .json tells as ``size``, or zeros."""
    size = info.get("size") if isinstance(info, dict) else None
    if isinstance(size, list) and len(size) == 2:
        width, height = size
        if all(type(side) is int and 0 < side < _LARGEST_SIDE for side in size):
            return width, height
    return 0, 0


def is_flat(pixels: Pixels) -> bool:
    """Tell whether an image shows one colour all over."""
    step = max(1, max(pixels.shape[:2]) // _GRID)
    part = pixels[::step, ::step].reshape(-1, 3).astype(np.float32)
    part -= part[0]  # small numbers, where it matters, so that their squares are exact
    mean = np.full(len(part), 1 / len(part), np.float32)
    variance = mean @ (part * part) - (mean @ part) ** 2  # ten times as fast as std(axis=0)
    return bool((variance < FLAT_STD**2).all())


def image_format(data: bytes) -> str:
    """Return what a file's first bytes say it is: "jpg", "png" or "webp", or "another format"."""
    if data.startswith(b"\xff\xd8"):
        return "jpg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else "another format"


def sixteen(data: bytes) -> tuple[int, int]:
    """Return 128 bits of a file's hash."""
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
