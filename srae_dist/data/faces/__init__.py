"""Built-in faces: the same seventeen factors drawn as a photo, an anime, a pencil sheet, a clay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError, did_you_mean
from srae_dist.data.faces import anime, clay, pencil, photo
from srae_dist.data.faces.canvas import Canvas
from srae_dist.data.faces.factors import DOMAINS, FACTORS, MEANING, sample_factors

__all__ = ["DOMAINS", "FACTORS", "MEANING", "render", "sample_factors"]

_PAINTERS = {"photo": photo.draw, "anime": anime.draw, "pencil": pencil.draw, "clay": clay.draw}
_CHUNK_PIXELS = 16 * 64 * 64  # a plane of a chunk then stays in a core's cache


def render(factors: NDArray[np.float32], domain: str, *, size: int = 64) -> NDArray[np.uint8]:
    """Draw the rows ``(N, len(FACTORS))`` in a domain; returns RGB ``(N, size, size, 3)``.

    A picture is a function of its own row: alone, in any batch, in any order, the same bytes.

    Raises:
        UserError: there is no such domain.
    """
    if domain not in _PAINTERS:
        raise UserError(
            f"There is no domain '{domain}' among the built-in faces (there are "
            f"{', '.join(DOMAINS)}).{did_you_mean(domain, DOMAINS)}"
        )
    rows = np.clip(np.asarray(factors, np.float32), -1.0, 1.0)
    pictures = np.empty((len(rows), size, size, 3), np.uint8)
    step = max(1, _CHUNK_PIXELS // (size * size))
    for first in range(0, len(rows), step):
        chunk = rows[first : first + step]
        canvas = Canvas.blank(len(chunk), size)
        _PAINTERS[domain](canvas, chunk)
        pictures[first : first + step] = canvas.pixels()
    return pictures
