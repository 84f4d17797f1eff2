"""Plain images at the speed of their libraries: no objects, no copies, no colour management.

Each function here declines (False or None) whatever is not plain: oriented by EXIF, transparent,
CMYK, paletted, 16 bits, animated, damaged, of another size. ``data.images`` then takes the careful
way, which is slower, decides what such a file means, and says what is wrong with it. Pixels are
equal either way.
"""

from __future__ import annotations

import struct
import threading

import imagecodecs
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from srae_dist.data.resize import Pixels, empty_pixels

MAX_SCANS = 100  # of a JPEG; progressive ones usually have about ten

_SOF0 = 0xC0  # a baseline frame, its number of colours in byte 9
_SOS, _APP1, _APP14 = 0xDA, 0xE1, 0xEE  # image data; EXIF; Adobe's words on colours, as CMYK has

_KEPT = 1 << 25  # bytes of an image whose memory is kept for the next one
_scratch = threading.local()

_decode_jpeg = simplejpeg.decode_jpeg  # looked up once, not for every image
_plain_head = b"-"  # what the last plain JPEG had before its image

_PNG = b"\x89PNG\r\n\x1a\n"
_HARMLESS = {b"IDAT", b"IEND", b"pHYs", b"tIME", b"sBIT", b"sRGB", b"gAMA", b"cHRM", b"bKGD"}
_GREY, _RGB = 0, 2  # PNG colour types
_LARGEST = 1 << 28  # bytes of a PNG's header fields that are worth walking


def decode_into(data: bytes, out: Pixels) -> bool:
    """Decode a plain image of exactly the shape of ``out`` (contiguous) into it.

    Returns whether that was done; if not, ``out`` holds anything.
    """
    try:
        if data.startswith(_plain_head) or is_plain_jpeg(data):
            return bool(_decode_jpeg(data, "RGB", buffer=out).shape == out.shape)
        if data.startswith(_PNG):
            return _png_into(data, out)
        return _webp_size(data) == out.shape[1::-1] and _webp_into(data, out)
    except (ValueError, RuntimeError, struct.error):  # the libraries' words for damage
        return False


def decode_plain(
    data: bytes, *, max_pixels: int, size: int = 0, shrink: bool = False
) -> Pixels | None:
    """Decode a plain image of any size up to ``max_pixels``; EXIF is not looked at.

    The pixels lie where this thread's next call will put its own.
    ``size``: what the image will be resized to. Where that is at most half of it, a JPEG's colours
    are spread to its pixels without smoothing; the resizing smoothes them. (The library's other
    shortcut, its faster cosine transform, darkens by a level, and is not taken.) With ``shrink`` a
    JPEG may come out at a half, quarter or eighth of its size, not below ``size`` pixels a side.
    """
    try:
        if data.startswith(b"\xff\xd8"):
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            if width * height > max_pixels or colours in ("CMYK", "YCCK"):
                return None
            if not few_scans(data):
                return None
            rough = 0 < 2 * size <= min(width, height)
            least = size if shrink else 0
            pixels: Pixels = _decode_jpeg(
                data,
                "RGB",
                fastupsample=rough,
                min_height=least,
                min_width=least,
                buffer=_scratch_pixels(height, width),
            )
            return pixels
        own = _png_size(data) if data.startswith(_PNG) else _webp_size(data)
        if own is None or own[0] * own[1] > max_pixels:
            return None
        out = _scratch_pixels(own[1], own[0])
        return out if decode_into(data, out) else None
    except (ValueError, RuntimeError, struct.error):
        return None


def few_scans(data: bytes) -> bool:
    """Tell whether a JPEG is drawn in a sane number of passes; each takes time, however empty."""
    return data.count(b"\xff\xda") <= MAX_SCANS


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Encode contiguous pixels as JPEG, colour at full resolution."""
    return bytes(
        simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="444")
    )


def _scratch_pixels(height: int, width: int) -> Pixels:
    """Return this thread's memory for one image, warm from the last one."""
    size = height * width * 3
    if size > _KEPT:
        return empty_pixels(height, width, 3)
    memory: NDArray[np.uint8] | None = getattr(_scratch, "memory", None)
    if memory is None or len(memory) < size:
        memory = _scratch.memory = empty_pixels(max(size, 1 << 18))
    return memory[:size].reshape(height, width, 3)


def is_plain_jpeg(data: bytes) -> bool:
    """Tell whether no segment before a JPEG's image says how to turn or to colour it."""
    global _plain_head
    place, colours = 2 if data.startswith(b"\xff\xd8") else len(data), b"-"
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == _SOS:
            if data[place + 4 : place + 5] != colours:  # not all at once: progressive, say
                return few_scans(data)
            _plain_head = data[: place + 5]  # an encoder's files begin alike: told at once
            return True
        if marker in (_APP1, _APP14):
            return False
        if marker == _SOF0:
            colours = data[place + 9 : place + 10]
        place += 2 + (data[place + 2] << 8 | data[place + 3])
    return False


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
