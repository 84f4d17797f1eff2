"""Pictures as planes of light, and the soft masks that lay colour on them.

A batch is three float32 planes ``(3, N, H, W)`` in [0, 1]; x and y run from -1 to 1, y downwards.
A shape is a signed distance (negative inside) that becomes coverage over about one pixel, so edges
are smooth at every size without supersampling. Only + - * / and square roots are used: every pixel
is its own arithmetic, and a row has the same bytes alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness

Plane = NDArray[Any]  # float32 (N, H, W), or what broadcasts to it
Colour = Sequence[Plane | float] | Plane  # red, green, blue


@dataclass(frozen=True, slots=True)
class Canvas:
    """A batch of pictures, or of the patches cut from one."""

    rgb: Plane  # (3, N, H, W)
    x: Plane  # (N or 1, 1, W): pixel centres
    y: Plane  # (N or 1, H, 1)
    pixel: float  # width of a pixel

    @classmethod
    def blank(cls, count: int, size: int) -> Canvas:
        """Return an unpainted canvas of ``count`` square pictures."""
        pixel = 2.0 / size
        centres = ((np.arange(size) + 0.5) * pixel - 1.0).astype(np.float32)
        rgb = np.empty((3, count, size, size), np.float32)
        return cls(rgb, centres[None, None, :], centres[None, :, None], pixel)

    @contextmanager
    def patch(self, x: Plane, y: Plane, reach: float) -> Iterator[Canvas]:
        """Cut the squares around the ``(N, 1, 1)`` points (x, y), and put them back at the end.

        ``reach`` is half a square's side. What is painted must vanish at its border.
        """
        size = self.rgb.shape[-1]
        side = min(size, int(2.0 * reach / self.pixel) + 3)
        rows, columns = (
            np.clip((at + 1.0) / self.pixel - 0.5 * side + 0.5, 0, size - side).astype(np.intp)
            for at in (y, x)
        )
        cut = Canvas(
            np.empty((len(self.rgb), len(x), side, side), np.float32),
            self.x[0, 0][columns + np.arange(side)[None, None, :]],
            self.y[0, :, 0][rows + np.arange(side)[None, :, None]],
            self.pixel,
        )
        # plain slices, one picture at a time, are several times faster than fancy indexing
        places = [
            (slice(None), i, slice(row, row + side), slice(column, column + side))
            for i, (row, column) in enumerate(zip(rows.flat, columns.flat, strict=True))
        ]
        for i, place in enumerate(places):
            cut.rgb[:, i] = self.rgb[place]
        yield cut
        for i, place in enumerate(places):
            self.rgb[place] = cut.rgb[:, i]

    def crop(self, left: float, right: float, top: float, bottom: float) -> Canvas:
        """Return the part between fixed borders; painting it paints this canvas."""
        columns, rows = (
            slice(max(0, int((low + 1.0) / self.pixel)), int((high + 1.0) / self.pixel) + 1)
            for low, high in ((left, right), (top, bottom))
        )
        return Canvas(
            self.rgb[..., rows, columns], self.x[..., columns], self.y[:, rows], self.pixel
        )

    def cover(self, distance: Plane, soft: float = 0.0) -> Plane:
        """Return how much of each pixel lies inside; ``soft`` widens the edge to that length."""
        scale = -1.0 / max(1.1 * self.pixel, soft)
        mask = distance * np.float32(scale)
        mask += np.float32(0.5)
        return unit(mask)

    def paint(self, mask: Plane, colour: Colour) -> None:
        """Lay a colour, flat or shaded, over the canvas where the mask says so."""
        for plane, light in zip(self.rgb, colour, strict=True):
            step = light - plane
            step *= mask
            plane += step

    def tint(self, mask: Plane, gain: Sequence[float]) -> None:
        """Multiply the light where the mask is one by ``gain``: shadows, blush and bloom."""
        for plane, factor in zip(self.rgb, gain, strict=True):
            step = mask * np.float32(factor - 1.0)
            step += np.float32(1.0)
            plane *= step

    def pixels(self) -> NDArray[np.uint8]:
        """Return the pictures as ``(N, H, W, 3)`` bytes."""
        light = self.rgb * np.float32(255.0)
        light += np.float32(0.5)
        np.clip(light, 0.0, 255.0, out=light)
        return np.ascontiguousarray(light.astype(np.uint8).transpose(1, 2, 3, 0))


def unit(value: Plane) -> Plane:
    """Clip to [0, 1] in place."""
    return np.clip(value, np.float32(0.0), np.float32(1.0), out=value)


def ellipse(u: Plane, v: Plane, width: Plane | float, height: Plane | float) -> Plane:
    """Distance to an axis-aligned ellipse around 0, to first order at its edge."""
    p, q = u / width, v / height
    square = p * p + q * q
    square -= np.float32(1.0)
    p, q = p / width, q / height
    slope = p * p + q * q
    slope += np.float32(1e-6)
    square /= np.sqrt(slope, out=slope)
    square *= np.float32(0.5)
    return square


def disc(u: Plane, v: Plane, radius: Plane | float) -> Plane:
    """Distance to a disc around 0."""
    distance: Plane = np.sqrt(u * u + v * v)
    distance -= radius
    return distance


def glow(u: Plane, v: Plane, width: Plane | float, height: Plane | float) -> Plane:
    """A soft spot: 1 at 0, falling smoothly to nothing on the ellipse."""
    p, q = u / width, v / height
    fall = p * p + q * q
    np.subtract(np.float32(1.0), fall, out=fall)
    np.maximum(fall, np.float32(0.0), out=fall)
    fall *= fall
    return fall


def palette(knots: Sequence[tuple[int, int, int]], place: Plane) -> Plane:
    """Walk along 8-bit RGB knots: ``(N, 1, 1)`` places in [0, 1] to ``(3, N, 1, 1)`` light."""
    table = np.asarray(knots, np.float32).T / np.float32(255.0)
    way = np.clip(place, 0.0, 1.0) * np.float32(len(knots) - 1)
    knot = np.minimum(way.astype(np.intp), len(knots) - 2)
    part = way - knot.astype(np.float32)
    return table[:, knot] + part * (table[:, knot + 1] - table[:, knot])


@lru_cache(maxsize=16)
def grain(size: int, name: int) -> Plane:
    """A fixed sheet of noise ``(1, size, size)`` of mean 0 and deviation 1, blurred a little."""
    noise = randomness.generator(name, "faces").standard_normal((size, size))
    noise = noise + 0.5 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1))
    sheet: Plane = (noise - noise.mean()) / noise.std()
    return np.asarray(sheet[None], np.float32)


@lru_cache(maxsize=16)
def strands(name: int, knots: int) -> Plane:
    """A smooth periodic curve through ``knots`` random heights in [-1, 1], as a table."""
    heights = randomness.generator(name, "faces").uniform(-1.0, 1.0, knots)
    way = np.arange(_TABLE) * (knots / _TABLE)
    knot = way.astype(np.intp)
    part = way - knot
    ease = part * part * (3.0 - 2.0 * part)
    curve: Plane = heights[knot] * (1.0 - ease) + heights[(knot + 1) % knots] * ease
    return np.asarray(curve, np.float32)


@lru_cache(maxsize=16)
def locks(name: int, count: int) -> Plane:
    """A periodic row of pointed locks of hair, up to 1 at the tips and 0 between, as a table."""
    random = randomness.generator(name, "faces")
    ends = np.cumsum(random.uniform(0.6, 1.4, count))
    ends = np.concatenate([[0.0], ends / ends[-1] * _TABLE])
    length = random.uniform(0.55, 1.0, count)
    place = np.arange(_TABLE) + 0.5
    lock = np.searchsorted(ends, place) - 1
    part = (place - ends[lock]) / (ends[lock + 1] - ends[lock])
    tip = 1.0 - np.abs(2.0 * part - 1.0)
    return (length[lock] * tip * (0.5 + 0.5 * tip)).astype(np.float32)


def look_up(table: Plane, place: Plane) -> Plane:
    """Read a table made for the places [-1, 1), and periodic beyond."""
    index = (place * np.float32(_TABLE / 2)).astype(np.int32)
    index &= _TABLE - 1
    return table[index]


_TABLE = 4096  # a power of two; a step is far below a pixel
