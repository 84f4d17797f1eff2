"""The floors under any loader: decoding bytes that are in memory, and reading bytes at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from srae_dist.data.resize import empty_pixels

Decode = Callable[[bytes, NDArray[np.uint8]], object]


def decoders(suffix: str) -> dict[str, Decode]:
    """Return the packaged libraries' fastest calls for a format, each into memory that is there."""
    import imagecodecs
    import simplejpeg

    if suffix == "jpg":
        return {
            "simplejpeg": lambda data, out: simplejpeg.decode_jpeg(data, "RGB", buffer=out),
            "imagecodecs": lambda data, out: imagecodecs.jpeg8_decode(data, out=out),
        }
    if suffix == "png":
        return {
            "imagecodecs spng": lambda data, out: imagecodecs.spng_decode(data, out=out),
            "imagecodecs png": lambda data, out: imagecodecs.png_decode(data, out=out),
        }
    return {"imagecodecs webp": lambda data, out: imagecodecs.webp_decode(data, out=out)}


def decode_all(decode: Decode, files: Sequence[bytes], size: int) -> int:
    """Decode image files one after the other into the same pixels."""
    out = empty_pixels(size, size, 3)
    for data in files:
        decode(data, out)
    return len(files)
