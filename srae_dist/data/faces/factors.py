"""What a face is, before anyone draws it: seventeen numbers.

A row of factors is all there is to know of a picture besides its domain, so the true translation
of any picture is the same row drawn in another domain.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness

DOMAINS: tuple[str, ...] = ("photo", "anime", "pencil", "clay")

_SIGNED = {
    "yaw": "-1 looks to the left edge of the picture, 1 to the right",
    "pitch": "-1 looks down, 1 up",
    "roll": "-1 leans the head to the left edge, 1 to the right",
    "width": "-1 is a narrow face, 1 a broad one",
    "gaze": "-1 turns the eyes to the left edge, 1 to the right",
    "brows": "-1 is a low frown, 1 raised and worried",
    "smile": "-1 turns the corners of the mouth down, 1 up",
    "parting": "-1 parts the hair near the left edge, 1 near the right",
    "light": "-1 shines from the left edge, 1 from the right",
}
_UNSIGNED = {
    "eyes": "0 is nearly closed, 1 wide open",
    "mouth": "0 is closed, 1 wide open",
    "hair_length": "0 ends above the ears, 1 below the shoulders",
    "hair_volume": "0 lies flat, 1 stands off the head",
    "hair_hue": "violet, plum, auburn, copper, gold",
    "hair_value": "0 is near black, 1 light",
    "skin": "0 is dark, 1 fair",
    "background": "rose, sand, green, teal, blue",
}
FACTORS: tuple[str, ...] = (*_SIGNED, *_UNSIGNED)
MEANING: dict[str, str] = {**_SIGNED, **_UNSIGNED}

_BLOCK = 4  # numbers that one tick of the Philox counter yields
_BLOCKS = -(-len(FACTORS) // _BLOCK)  # ticks set aside for a row


def sample_factors(count: int, *, seed: int, start: int = 0) -> NDArray[np.float32]:
    """Draw rows ``start`` to ``start + count`` of an endless table, each factor uniform.

    Returns ``(count, len(FACTORS))``: signed factors in [-1, 1], the others in [0, 1]. Row i
    depends on (seed, i) only, so any slice of the table can be drawn alone.
    """
    generator = randomness.generator(seed, "faces")
    bits: Any = generator.bit_generator
    bits.advance(start * _BLOCKS)
    rows = generator.random((count, _BLOCKS * _BLOCK))[:, : len(FACTORS)]
    rows[:, : len(_SIGNED)] = 2.0 * rows[:, : len(_SIGNED)] - 1.0
    return rows.astype(np.float32)


class Factors(NamedTuple):
    """The same rows by name, each ``(N, 1, 1)``, ready to meet a grid of pixels."""

    yaw: NDArray[np.float32]
    pitch: NDArray[np.float32]
    roll: NDArray[np.float32]
    width: NDArray[np.float32]
    gaze: NDArray[np.float32]
    brows: NDArray[np.float32]
    smile: NDArray[np.float32]
    parting: NDArray[np.float32]
    light: NDArray[np.float32]
    eyes: NDArray[np.float32]
    mouth: NDArray[np.float32]
    hair_length: NDArray[np.float32]
    hair_volume: NDArray[np.float32]
    hair_hue: NDArray[np.float32]
    hair_value: NDArray[np.float32]
    skin: NDArray[np.float32]
    background: NDArray[np.float32]
