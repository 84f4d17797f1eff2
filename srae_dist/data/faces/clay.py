"""`clay`: everything is a rounded lump of one waxy material, with a big nose and big ears."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srae_dist.data.faces import canvas as c
from srae_dist.data.faces.canvas import Canvas, Plane
from srae_dist.data.faces.rig import Proportions, Rig

BUILD = Proportions(
    half_width=0.47,
    half_height=0.50,
    centre=0.06,
    taper=-0.08,
    eye_gap=0.36,
    eye_height=-0.10,
    hair=1.02,
    fringe=-0.62,
    sweep=0.9,
)
_SKIN = ((120, 66, 44), (176, 100, 66), (222, 142, 100), (246, 180, 142), (255, 208, 180))
_HAIR = ((110, 100, 190), (176, 82, 140), (206, 84, 52), (228, 140, 48), (246, 206, 84))
_WALL = ((214, 120, 130), (226, 186, 110), (134, 184, 116), (84, 174, 172), (104, 136, 206))
_COAT = ((70, 150, 190), (86, 92, 176), (186, 70, 110), (214, 96, 62), (226, 172, 66))
_TEMPLES = ((-0.88, -0.62), (0.88, -0.62), (-0.52, -0.86), (0.52, -0.86), (0.0, -0.96))


def draw(canvas: Canvas, rows: NDArray[np.float32]) -> None:
    """Model the rows' faces."""
    rig = Rig(rows, BUILD)
    f = rig.f
    skin = c.palette(_SKIN, f.skin)
    hair = c.palette(_HAIR, f.hair_hue) * (0.17 + 0.83 * f.hair_value)
    _backdrop(canvas, rig)
    u, v = rig.local(canvas)
    _mop(canvas, rig, u, v, hair)
    _body(canvas, rig, skin)
    _curls(canvas, rig, hair)
    for side in (-1.0, 1.0):
        _ear(canvas, rig, side, skin)
    _head(canvas, rig, skin)
    _mouth(canvas, rig, skin)
    for side in (-1.0, 1.0):
        _eye(canvas, rig, side, skin, hair)
    x, y, _ = rig.at(0.0, 0.22, 0.30)
    _lump(canvas, rig, (x, y), width=0.135, height=0.125, reach=0.24, colour=_warm(skin))
    _forelock(canvas, rig, hair)


def _light(rig: Rig, p: Plane, q: Plane) -> tuple[Plane, Plane]:
    """Return body light and sheen on a unit ball seen at (p, q)."""
    near = 1.0 - p * p - q * q
    np.maximum(near, np.float32(0.0), out=near)
    np.sqrt(near, out=near)
    x, y = rig.light
    facing = x * p + y * q + rig.towards * near
    half = np.float32(1.0) / np.sqrt(2.0 + 2.0 * rig.towards)  # half way from light to eye
    sheen = (x * half) * p + (y * half) * q + ((1.0 + rig.towards) * half) * near
    np.maximum(sheen, np.float32(0.0), out=sheen)
    for _ in range(4):
        sheen *= sheen
    body = np.maximum(facing, np.float32(-0.15))
    body *= 0.62
    near *= 0.16
    body += near
    body += np.float32(0.38)
    return body, sheen


def _lump(
    canvas: Canvas,
    rig: Rig,
    place: tuple[Plane, Plane],
    *,
    width: Plane | float,
    height: Plane | float,
    reach: float,
    colour: Plane,
) -> None:
    """Press an ellipsoid onto the picture: first its soft shadow, within ``reach``, then itself."""
    with canvas.patch(*rig.patch_at(*place), reach) as cut:
        p, q = rig.local(cut, *place)
        drop = c.glow(p + 0.05 * rig.f.light, q - 0.04, width * 1.3, height * 1.3)
        cut.tint(0.55 * drop, (0.25, 0.12, 0.16))
        mask = cut.cover(c.ellipse(p, q, width, height))
        p /= width
        q /= height
        _wax(cut, mask, colour, *_light(rig, p, q))


def _wax(canvas: Canvas, mask: Plane, colour: Plane, body: Plane, sheen: Plane) -> None:
    sheen = 0.34 * sheen
    canvas.paint(mask, [light * body + sheen for light in colour])


def _warm(skin: Plane) -> Plane:
    return skin * np.asarray([1.04, 0.82, 0.78], np.float32)[:, None, None, None]


def _backdrop(canvas: Canvas, rig: Rig) -> None:
    wall = c.palette(_WALL, rig.f.background)
    lamp = 0.62 + 0.40 * c.glow(canvas.x - 0.7 * rig.f.light, canvas.y + 0.3, 2.0, 2.0)
    lamp *= 1.0 - 0.35 * c.glow(canvas.x + 0.22 * rig.f.light, canvas.y - 0.14, 0.95, 1.05)
    for plane, light in zip(canvas.rgb, wall, strict=True):
        np.multiply(lamp, light, out=plane)


def _mop(canvas: Canvas, rig: Rig, u: Plane, v: Plane, hair: Plane) -> None:
    """The hair behind the head: one thick slab."""
    edge = rig.hair(u, v, blunt=1.3)
    p = (u - rig.skull) / rig.bulk
    q = c.unit((v - rig.crown) / (rig.ends - rig.crown + rig.bulk) * 0.5 + 0.5) * 2.0 - 1.0
    body, sheen = _light(rig, 0.9 * p, 0.8 * q)
    _wax(canvas, canvas.cover(edge), hair, 0.8 * body, 0.4 * sheen)


def _body(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    canvas = canvas.crop(*rig.below)
    x, y = canvas.x - 0.4 * rig.x, canvas.y + 0.0 * canvas.x
    neck = np.abs(x) - 0.20
    body, sheen = _light(rig, x / 0.24, 0.2 + 0.0 * y)
    body -= 0.35 * c.glow(x, y - 0.55, 0.5, 0.35)
    _wax(canvas, canvas.cover(np.maximum(neck, 0.3 - y)), skin, body, 0.3 * sheen)
    coat = c.palette(_COAT, rig.f.background)
    shoulder = c.ellipse(x, y - 1.26, 0.80, 0.50)
    body, sheen = _light(rig, x / 0.84, (y - 1.26) / 0.54)
    _wax(canvas, canvas.cover(shoulder), coat, body, sheen)
    roll = c.ellipse(x, y - 0.80, 0.29, 0.10)
    body, sheen = _light(rig, x / 0.32, (y - 0.80) / 0.11)
    _wax(canvas, canvas.cover(roll), coat, body, sheen)


def _curls(canvas: Canvas, rig: Rig, hair: Plane) -> None:
    """Lumps that hang at both sides, further down as the hair grows."""
    size = 0.135 + 0.05 * rig.f.hair_volume
    for step in (3, 2, 1, 0):
        for side in (-1.0, 1.0):
            down = rig.crown + (step + 0.3) / 3.5 * (rig.ends - rig.crown + 0.12)
            out = rig.skull + side * (rig.bulk - 0.03 - 0.02 * (step % 2))
            _lump(canvas, rig, (out, down), width=size, height=0.95 * size, reach=0.30, colour=hair)


def _ear(canvas: Canvas, rig: Rig, side: float, skin: Plane) -> None:
    u = side * (1.03 * rig.width - 0.36 * np.maximum(side * rig.turn, 0.0))
    v = 0.04 + 0.2 * rig.nod
    _lump(canvas, rig, (u, v), width=0.13, height=0.165, reach=0.27, colour=skin)
    hollow = (u + 0.03 * side, v + 0.01)
    dark = _warm(skin) * np.float32(0.72)
    _lump(canvas, rig, hollow, width=0.065, height=0.09, reach=0.17, colour=dark)


def _head(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    canvas = canvas.crop(*rig.frame)
    u, v = rig.local(canvas)
    across, down = rig.face_shape(u, v)
    mask = canvas.cover(c.ellipse(across, down, rig.width, rig.height))
    body, sheen = _light(rig, 0.97 * across / rig.width, 0.97 * down / rig.height)
    dents = c.look_up(c.strands(11, 14), u + 0.5 * v) * c.look_up(c.strands(12, 14), v - 0.5 * u)
    body += 0.045 * dents
    for side in (-1.0, 1.0):
        x, y, seen = rig.at(0.60 * side, 0.30)
        body += 0.10 * c.glow(u - x, v - y, 0.2 * seen, 0.18)
    _wax(canvas, mask, skin, body, 0.6 * sheen)


def _eye(canvas: Canvas, rig: Rig, side: float, skin: Plane, hair: Plane) -> None:
    f = rig.f
    u, v, seen = rig.at(side * BUILD.eye_gap, BUILD.eye_height, 0.04)
    with canvas.patch(*rig.patch_at(u, v), 0.42) as cut:
        p, q = rig.local(cut, u, v)
        p /= 0.5 + 0.5 * seen
        ball = c.disc(p, q, 0.145)
        cut.tint(0.5 * c.glow(p + 0.03 * f.light, q - 0.03, 0.21, 0.21), (0.3, 0.2, 0.2))
        body, sheen = _light(rig, p / 0.15, q / 0.15)
        mask = cut.cover(ball)
        white = 0.35 + 0.7 * body
        cut.paint(mask, (white, 0.98 * white, 0.95 * white))
        look, rise = p - 0.072 * f.gaze - 0.03 * f.yaw, q + 0.02 * f.pitch - 0.01
        cut.paint(mask * cut.cover(c.disc(look, rise, 0.062)), (0.07, 0.05, 0.07))
        glint = c.disc(look - 0.03 * f.light, rise + 0.026, 0.018)
        cut.paint(mask * cut.cover(glint), (1.0, 1.0, 1.0))
        # the lid is a second shell, drawn down over the ball
        edge = 0.075 - 0.205 * f.eyes
        lid = np.maximum(c.disc(p, q, 0.16), q - edge - 1.5 * (p * p - 0.01))
        _wax(cut, cut.cover(lid), skin, 0.92 * body, 0.7 * sheen)
        cut.tint(mask * c.unit(1.0 - np.abs(q - edge - 0.02) * 30.0) * 0.5, (0.3, 0.25, 0.25))
        # the brow is a sausage
        out = side * p - 0.02
        arc = q + 0.215 + f.brows * (0.03 - 0.5 * out) - 1.2 * out * out
        thick = 0.036
        brow = np.maximum(np.abs(arc) - thick, 0.8 * (np.abs(out) - 0.115))
        body, sheen = _light(rig, 0.5 * p / 0.14, arc / (thick * 1.15))
        _wax(cut, cut.cover(brow), hair, body, sheen)


def _mouth(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    f = rig.f
    u, v, seen = rig.at(0.0, 0.60, 0.02)
    half = (0.21 + 0.04 * f.smile) * (0.8 + 0.2 * seen)
    with canvas.patch(*rig.patch_at(u, v + 0.03), 0.39) as cut:
        p, q = rig.local(cut, u, v)
        across = p / half
        across *= across
        arch = np.maximum(1.0 - across, 0.0)
        q -= 0.11 * f.smile * (0.5 - across)
        gap = 0.15 * f.mouth * np.sqrt(arch)
        thick = 0.045
        inside = np.maximum(-(q + 0.2 * gap), q - gap)
        ends = np.maximum(np.abs(p) - half, 0.0)
        lips = np.sqrt(np.maximum(inside, 0.0) ** 2 + ends * ends) - thick
        round_ = np.clip((q - 0.4 * gap) / (gap + 1.6 * thick), -0.9, 0.9)
        body, sheen = _light(rig, 0.4 * p / half, round_)
        cut.tint(0.4 * cut.cover(lips - 0.03, 0.07), (0.5, 0.35, 0.35))
        _wax(cut, cut.cover(lips), _warm(skin), body, 0.4 * sheen)
        shut = c.unit(4.0 * arch)
        cut.paint(shut * cut.cover(inside - 0.006), (0.24, 0.06, 0.08))
        teeth = np.maximum(inside + 0.01, q - 0.32 * gap) + 0.25 * cut.pixel
        cut.paint(c.unit(14.0 * gap - 0.2) * cut.cover(teeth), (0.96, 0.94, 0.88))


def _forelock(canvas: Canvas, rig: Rig, hair: Plane) -> None:
    """Lumps along the hairline, smaller and higher at the parting."""
    f = rig.f
    for a, b in _TEMPLES:
        away = a - 0.55 * f.parting
        away *= away
        away = np.minimum(away, 1.0)
        x, y, seen = rig.at(a, b)
        size = 0.15 + 0.05 * f.hair_volume + 0.05 * away
        wide = size * (0.75 + 0.25 * np.minimum(seen, 1.0))
        place = (x, y - 0.08 + 0.11 * away)
        _lump(canvas, rig, place, width=wide, height=0.9 * size, reach=0.38, colour=hair)
