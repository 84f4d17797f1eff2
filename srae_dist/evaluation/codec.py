"""A trained model as two functions of arrays, and any number of images through them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from srae_dist.evaluation.encode import Encode, Floats, Pixels

Decode = Callable[[Floats, Floats], Pixels]  # content codes n k a b, domain codes n j to pixels

BATCH = 64  # fixed: a convolution's last digits may depend on what else is in its batch


def encode_all(encode: Encode, pixels: Pixels) -> tuple[Floats, Floats]:
    """Encode N images, a batch at a time: content codes N k a b and domain codes N j."""
    parts = [encode(pixels[first : first + BATCH]) for first in range(0, len(pixels), BATCH)]
    return (
        np.concatenate([content for content, _ in parts]).astype(np.float32),
        np.concatenate([code for _, code in parts]).astype(np.float32),
    )


def decode_all(decode: Decode, content: Floats, codes: Floats) -> Pixels:
    """Decode N content codes, a batch at a time.

    Args:
        content: N k a b.
        codes: N j domain codes, or j: one for all.
    """
    each = np.broadcast_to(codes, (len(content), codes.shape[-1]))
    parts = (slice(first, first + BATCH) for first in range(0, len(content), BATCH))
    return np.concatenate([decode(content[part], each[part].copy()) for part in parts])
