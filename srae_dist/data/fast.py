"""Plain images at the speed of their libraries: no objects, no copies, no colour management.

Each function here declines (False or None) whatever is not plain: oriented by EXIF, transparent,
CMYK, paletted, 16 bits, animated, damaged, of another size. ``data.images`` then takes the careful
way, which is slower, decides what such a file means, and says what is wrong with it. Pixels are
equal either way.
"""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import simplejpeg

from srae_dist.data.resize import Pixels

_PNG = b"\x89PNG\r\n\x1a\n"
_HARMLESS = {b"IDAT", b"IEND", b"pHYs", b"tIME", b"sBIT", b"sRGB", b"gAMA", b"cHRM", b"bKGD"}
_GREY, _RGB = 0, 2  # PNG colour types
_LARGEST = 1 << 28  # bytes of a PNG's header fields that are worth walking


def decode_into(data: bytes, out: Pixels) -> bool:
    """Decode a plain image of exactly the shape of ``out`` (contiguous) into it.

    Returns whether that was done; if not, ``out`` holds anything.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            if b"Exif" in data or b"Adobe" in data:  # orientation, or CMYK
                return False
            pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=out)
            return bool(pixels.shape == out.shape)
        if data.startswith(_PNG):
            return _png_into(data, out)
        return _webp_size(data) == out.shape[1::-1] and _webp_into(data, out)
    except (ValueError, RuntimeError, struct.error):  # the libraries' words for damage
        return False


def decode_plain(data: bytes, *, max_pixels: int, shrink_to: int = 0) -> Pixels | None:
    """Decode a plain image of any size up to ``max_pixels``; EXIF is not looked at.

    ``shrink_to``: a JPEG may be decoded at a half, quarter or eighth of its size, not below this
    many pixels a side.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            if width * height > max_pixels or colours in ("CMYK", "YCCK"):
                return None
            pixels: Pixels = simplejpeg.decode_jpeg(
                data, "RGB", min_height=shrink_to, min_width=shrink_to
            )
            return pixels
        size = _png_size(data) if data.startswith(_PNG) else _webp_size(data)
        if size is None or size[0] * size[1] > max_pixels:
            return None
        out = np.empty((size[1], size[0], 3), np.uint8)
        return out if decode_into(data, out) else None
    except (ValueError, RuntimeError, struct.error):
        return None


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Encode contiguous pixels as JPEG, colour at full resolution."""
    return bytes(
        simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="444")
    )


def _png_into(data: bytes, out: Pixels) -> bool:
    if _png_size(data) != out.shape[1::-1]:
        return False
    if data[25] == _RGB:
        imagecodecs.spng_decode(data, out=out)
    else:
        out[:] = imagecodecs.spng_decode(data)[..., None]
    return True


def _png_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of an opaque 8-bit PNG of few, harmless chunks, else None."""
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if data[8:16] != b"\0\0\0\rIHDR" or depth != 8 or colour not in (_GREY, _RGB):
        return None
    place = 33
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind not in _HARMLESS or length > _LARGEST:
            return None
        place += length + 12
    return (width, height) if width and height else None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a WEBP file that is one opaque image and nothing else."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    if data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if data[12:16] == b"VP8L" and data[20:21] == b"\x2f":
        (bits,) = struct.unpack_from("<I", data, 21)
        alpha = bits >> 28 & 1
        return None if alpha else ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    return None


def _webp_into(data: bytes, out: Pixels) -> bool:
    imagecodecs.webp_decode(data, hasalpha=False, out=out)
    return True
