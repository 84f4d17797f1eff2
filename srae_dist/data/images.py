"""One decode and one encode for all images: files of any kind in, uint8 RGB pixels out.

Files are opened by their content, not by their name, and only as JPEG, PNG or WEBP; of an animation
the first frame. Greyscale, palette and CMYK become RGB; 16 bits keep their high byte, as libpng
does it for colour; EXIF orientation is applied; what is transparent shows white. Colour profiles
are not applied.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from srae_dist.core.errors import SampleError
from srae_dist.data import fast
from srae_dist.data.resize import Pixels as Pixels
from srae_dist.data.resize import empty_pixels, resize_square

FORMATS = ("JPEG", "PNG", "WEBP")
SUFFIXES = ("jpg", "jpeg", "png", "webp")  # of the files above, lower case
ENCODINGS = ("jpg", "png", "webp")  # what encode() writes
MAX_BYTES = 1 << 26  # of one file; more is refused unread
MAX_PIXELS = 1 << 26  # 8192 x 8192: 192 MiB of RGB
BACKDROP = (255, 255, 255)  # what alpha is composited on

_ORIENTATION = 0x0112
_UPRIGHT = {  # EXIF orientation -> what turns the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


# Pillow's own guard against decompression bombs only warns; _open() refuses, and earlier
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged EXIF and the like


def read_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return width and height by a file's header; EXIF orientation may yet exchange the two.

    Raises:
        SampleError: it is not a JPEG, PNG or WEBP file, or larger than ``max_pixels``.
    """
    with _damage():
        return _open(data, max_pixels).size


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the image in a file's bytes: mode RGB, upright, at its own size.

    Raises:
        SampleError: empty, damaged, cut short, larger than ``max_pixels`` by its header, or not a
            JPEG, PNG or WEBP file.
    """
    with _damage():
        image = _open(data, max_pixels)
        image.load()
        return _rgb(_upright(image))


def pixels_of(image: Image.Image) -> Pixels:
    """Return an image's RGB pixels, as decode makes them, at its own size; EXIF is not applied."""
    return np.array(_rgb(image))


def decode_array(data: bytes, size: int) -> Pixels:
    """Return the image in a file's bytes as ``size x size x 3``; see decode and resize_square.

    An image that has the size already is not resampled.

    Raises:
        SampleError: as decode.
    """
    out = empty_pixels(size, size, 3)
    decode_into(data, out)
    return out


def decode_into(data: bytes, out: Pixels) -> None:
    """Decode an image file into ``out``, size x size x 3 and contiguous; as decode_array.

    Raises:
        SampleError: as decode; ``out`` then holds anything.
    """
    if not fast.decode_into(data, out):
        out[:] = resize_square(np.asarray(decode(data)), len(out))


def read_square(data: bytes, size: int, *, shrink: bool = False) -> tuple[Pixels, tuple[int, int]]:
    """Return the image in a file's bytes as ``size x size x 3``, and its own upright width, height.

    ``shrink`` allows a JPEG to be decoded at a half, quarter or eighth of its size where that is
    still at least ``size``: faster, and slightly other pixels.

    Raises:
        SampleError: as decode.
    """
    with _damage():
        plain = _read_plain(data, size, shrink=shrink)
    if plain is not None:
        pixels, own = plain
    else:
        pixels = np.asarray(decode(data))
        own = (pixels.shape[1], pixels.shape[0])
    square = resize_square(pixels, size)
    return (square.copy() if square.base is not None else square), own


def encode(pixels: Pixels, *, format: str = "jpg", quality: int = 95) -> bytes:
    """Return an image file of uint8 RGB pixels ``H W 3``; equal pixels give equal bytes.

    ``format`` is "jpg" (colour at full resolution: small images show its loss), "png" (lossless;
    ``quality`` means nothing) or "webp".
    """
    pixels = np.ascontiguousarray(pixels)
    if format == "jpg":
        return fast.encode_jpeg(pixels, quality)
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    if format == "png":
        image.save(stream, "PNG")
    elif format == "webp":
        image.save(stream, "WEBP", quality=quality)
    else:
        raise ValueError(f"format is {format!r}, not one of {', '.join(ENCODINGS)}")
    return stream.getvalue()


def _read_plain(data: bytes, size: int, *, shrink: bool) -> tuple[Pixels, tuple[int, int]] | None:
    """Decode a plain image fast and turn it upright, or return None."""
    if not 0 < len(data) <= MAX_BYTES:
        return None
    pixels = fast.decode_plain(data, max_pixels=MAX_PIXELS, size=size, shrink=shrink)
    if pixels is None:
        return None
    # a PNG or WEBP with EXIF would not have been plain
    oriented = data.startswith(b"\xff\xd8") and not fast.is_plain_jpeg(data)
    if not (oriented or shrink):
        return pixels, (pixels.shape[1], pixels.shape[0])
    image = Image.open(io.BytesIO(data), formats=FORMATS)  # reads the header
    method = _orientation(image) if oriented else None
    if method is None:
        return pixels, image.size
    turned = np.asarray(Image.fromarray(pixels).transpose(method))
    swaps = method in _SWAPS
    return turned, image.size[::-1] if swaps else image.size


@contextmanager
def _damage() -> Iterator[None]:
    """Turn whatever Pillow raises at a damaged file into a SampleError with a short reason."""
    try:
        yield
    except SampleError:
        raise
    except Exception as error:  # its plugins raise nearly anything at bytes they did not expect
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SampleError(reason) from None


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise SampleError("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise SampleError("not a JPEG, PNG or WEBP image, or cut short in its header") from None
    width, height = image.size
    if width * height > max_pixels:
        raise SampleError(f"{width} x {height} is more than {max_pixels:,} pixels")
    if data.startswith(b"\xff\xd8") and not fast.few_scans(data):
        raise SampleError(f"it is drawn in more than {fast.MAX_SCANS} scans")
    return image


def _upright(image: Image.Image) -> Image.Image:
    method = _orientation(image)
    return image if method is None else image.transpose(method)


def _orientation(image: Image.Image) -> Image.Transpose | None:
    """Return what turns an image upright, if it needs that."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF says nothing of the orientation; the pixels are sound
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image)
        grey = _high_byte(values)
        if isinstance(clear := image.info.get("transparency"), int):  # one grey is seen through
            grey[values == clear] = BACKDROP[0]
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, BACKDROP)
        canvas.paste(image, mask=image.getchannel("A"))
        return canvas
    return image.convert("RGB")


def _high_byte(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    return (values.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
