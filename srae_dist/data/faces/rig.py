"""From factors to places: one head, posed, whose proportions each domain sets for itself.

The head's own coordinates (u, v) have their origin between the eyes' height and the face's middle,
u to the right, v downwards, and lean with ``roll``. A point on the face also has a depth, so yaw
and pitch carry it along, and the far side of the face is foreshortened.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srae_dist.data.faces.canvas import Canvas, Plane
from srae_dist.data.faces.factors import Factors


@dataclass(frozen=True, slots=True)
class Proportions:
    """How a domain builds a head; lengths in half pictures."""

    half_width: float = 0.43
    half_height: float = 0.56
    centre: float = 0.03  # height of the head's origin in the picture
    taper: float = 0.24  # how much the jaw narrows
    eye_gap: float = 0.44  # eyes from the middle, in half widths
    eye_height: float = 0.0  # in half heights, downwards
    hair: float = 1.08  # half width of the skull with flat hair, in half widths
    fringe: float = -0.66  # where the parting meets the forehead, in half heights
    sweep: float = 1.5  # how steeply the fringe falls away from the parting


class Rig:
    """The posed head of each row; every attribute but the frames is ``(N, 1, 1)``."""

    frame = (-0.90, 0.90, -0.75, 0.85)  # left, right, top, bottom: no face reaches beyond
    below = (-1.0, 1.0, 0.25, 1.0)  # neck and shoulders

    def __init__(self, rows: NDArray[np.float32], build: Proportions) -> None:
        columns = np.ascontiguousarray(rows.T)[:, :, None, None]
        self.f = f = Factors(*columns)
        self.build = build
        self.turn = 0.44 * f.yaw  # sine of the yaw
        self.face = np.sqrt(1.0 - self.turn * self.turn)  # its cosine
        self.nod = 0.26 * f.pitch
        self.level = np.sqrt(1.0 - self.nod * self.nod)
        lean = 0.24 * f.roll
        self.cos = 1.0 / np.sqrt(1.0 + lean * lean)
        self.sin = lean * self.cos
        neck = 0.55  # the head leans about the neck's top, this far below its origin
        self.x = 0.05 * f.yaw + neck * self.sin
        self.y = build.centre - 0.02 * f.pitch + neck * (1.0 - self.cos)
        self.width = build.half_width * (1.0 + 0.13 * f.width)
        self.height = build.half_height * (1.0 - 0.03 * f.width) * (0.97 + 0.03 * self.level)
        self.chin = 0.16 * self.turn  # how far the chin goes with the yaw
        # hair: an upright capsule around the skull
        self.skull = -0.10 * self.turn
        self.bulk = self.width * (build.hair + 0.22 * f.hair_volume)
        top = -self.height * (1.03 + 0.22 * f.hair_volume) + 0.05 * self.nod
        self.crown = top + self.bulk
        self.ends = self.crown + 0.95 * f.hair_length
        part, _, _ = self.at(0.5 * f.parting, -0.75)
        self.part = part
        self.fringe = build.fringe * self.height - 0.15 * self.nod
        self.light = (0.72 * f.light, np.float32(-0.45) + 0.0 * f.light)
        x, y = self.light
        self.towards = np.sqrt(1.0 - x * x - y * y)  # the light's part towards us

    def local(
        self, canvas: Canvas, u: Plane | float = 0.0, v: Plane | float = 0.0
    ) -> tuple[Plane, Plane]:
        """Return the head coordinates of every pixel, seen from the point (u, v)."""
        x, y = canvas.x - self.x, canvas.y - self.y
        return (self.cos * x - u) + self.sin * y, (self.cos * y - v) - self.sin * x

    def at(
        self, a: Plane | float, b: Plane | float, lift: float = 0.0
    ) -> tuple[Plane, Plane, Plane]:
        """Return (u, v) of a point of the face, and how much of its width we see.

        ``a`` and ``b`` are in half widths and half heights of the face looking straight at us;
        ``lift`` raises the point off the face, in half widths.
        """
        away = np.sqrt(np.maximum(0.0 * self.turn + 1.0 - 0.8 * (a * a) - 0.35 * (b * b), 0.05))
        depth = self.width * (away + lift)
        across = a * self.width
        u = across * self.face + depth * self.turn
        near = depth * self.face - across * self.turn
        v = b * self.height * self.level - near * self.nod
        seen = np.clip(self.face - self.turn * a * 0.9 / away, 0.35, 1.15)
        return u, v, seen

    def patch_at(self, u: Plane, v: Plane) -> tuple[Plane, Plane]:
        """Return the picture coordinates of a point given in head coordinates."""
        return self.x + self.cos * u - self.sin * v, self.y + self.cos * v + self.sin * u

    def hair(self, u: Plane, v: Plane, blunt: float = 1.5) -> Plane:
        """Distance to all the hair, front and back."""
        across = u - self.skull
        down = v - np.clip(v, self.crown, self.ends)
        down *= np.where(down > 0.0, 1.0 + (blunt - 1.0) * self.f.hair_length, 1.0)
        distance: Plane = np.sqrt(across * across + down * down)
        distance -= self.bulk
        return distance

    def hairline(self, u: Plane) -> tuple[Plane, Plane]:
        """Return where the forehead begins above each u, and the curve's slope."""
        away = u - self.part
        side = np.abs(u) - 0.66 * self.width
        np.maximum(side, 0.0, out=side)
        locks = 26.0 * self.f.hair_length
        line = self.fringe + self.build.sweep * away * away + locks * side * side
        slope = 2.0 * self.build.sweep * np.abs(away) + 2.0 * locks * side
        return line, slope

    def face_shape(self, u: Plane, v: Plane) -> tuple[Plane, Plane]:
        """Return coordinates in which the face is an ellipse: narrower towards a turned chin."""
        jaw = np.maximum(v, 0.0) / self.height
        jaw *= jaw
        across = (u - self.chin * jaw) * (1.0 + self.build.taper * jaw)
        return across, v
