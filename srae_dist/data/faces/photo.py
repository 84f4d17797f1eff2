"""`photo`: smooth skin under one soft lamp, small eyes, a modelled nose, strands of hair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srae_dist.data.faces import canvas as c
from srae_dist.data.faces.canvas import Canvas, Plane
from srae_dist.data.faces.rig import Proportions, Rig

BUILD = Proportions()
_SKIN = ((118, 76, 58), (162, 110, 82), (206, 156, 122), (236, 196, 168), (248, 216, 196))
_HAIR = ((146, 136, 176), (176, 116, 130), (196, 102, 66), (220, 146, 78), (240, 208, 132))
_IRIS = ((96, 118, 150), (92, 116, 108), (98, 108, 74), (104, 74, 46), (72, 50, 38))
_WALL = ((168, 120, 124), (170, 150, 116), (120, 150, 118), (100, 148, 152), (116, 132, 172))
_CLOTH = ((74, 88, 104), (70, 74, 104), (112, 74, 92), (124, 84, 70), (110, 98, 72))


def draw(canvas: Canvas, rows: NDArray[np.float32]) -> None:
    """Paint the rows' faces."""
    rig = Rig(rows, BUILD)
    f = rig.f
    skin = c.palette(_SKIN, f.skin)
    hair = c.palette(_HAIR, f.hair_hue) * (0.14 + 0.86 * f.hair_value)
    u, v = rig.local(canvas)
    _wall(canvas, rig)
    mass = rig.hair(u, v)
    strand = _strands(rig, u, v)
    _hair(canvas, rig, u, v, mass, strand, hair * 0.72)
    _body(canvas, rig, skin)
    for side in (-1.0, 1.0):
        _ear(canvas, rig, side, skin)
    _face(canvas, rig, skin)
    for side in (-1.0, 1.0):
        _cheek(canvas, rig, side)
        _eye(canvas, rig, side, hair)
    _nose(canvas, rig)
    _mouth(canvas, rig, skin)
    line, slope = rig.hairline(u)
    line += 0.035 * strand
    front = (v - line) / np.sqrt(1.0 + slope * slope)
    np.maximum(front, mass, out=front)
    _hair(canvas, rig, u, v, front, strand, hair)
    rgb = canvas.rgb
    rgb *= 1.0 + 0.014 * c.grain(rgb.shape[-1], 1)


def _wall(canvas: Canvas, rig: Rig) -> None:
    wall = c.palette(_WALL, rig.f.background)
    far = c.glow(canvas.x - 0.9 * rig.f.light, canvas.y + 0.5, 2.6, 2.4)
    far *= 0.85
    far += 0.42
    for plane, light in zip(canvas.rgb, wall, strict=True):
        np.multiply(far, light, out=plane)


def _strands(rig: Rig, u: Plane, v: Plane) -> Plane:
    """Return fine light and dark along lines that fan out from the parting."""
    fan = (u - rig.part) / (np.maximum(v - rig.fringe, -0.2) * 0.5 + 0.75)
    return c.look_up(c.strands(3, 46), fan)


def _hair(
    canvas: Canvas, rig: Rig, u: Plane, v: Plane, edge: Plane, strand: Plane, colour: Plane
) -> None:
    p = (u - rig.skull) / rig.bulk
    q = (v - rig.crown) / rig.bulk
    shade = rig.light[0] * p
    shade += rig.light[1] * np.clip(q, -1.0, 0.9)
    shade *= 0.55
    shade += 0.78
    shade += 0.13 * strand
    bend = q + 0.62 - 0.25 * p * p - 0.07 * strand
    shine = c.glow(p - 0.9 * rig.f.light * 0.4, bend, 0.95, 0.26)
    shine *= 0.16
    mask = canvas.cover(edge)
    canvas.paint(mask, [shade * light + (0.35 + light) * shine for light in colour])


def _body(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    canvas = canvas.crop(*rig.below)
    x, y = canvas.x - 0.3 * rig.x, canvas.y
    neck = np.abs(x) - (0.21 + 0.03 * rig.f.width) - 0.25 * np.maximum(y - 0.72, 0.0)
    neck = np.maximum(neck, 0.3 - y)
    shade = 0.72 + 0.45 * rig.light[0] * x / 0.3 - 0.62 * c.glow(x - rig.x, y - 0.5, 0.6, 0.42)
    canvas.paint(canvas.cover(neck), _lit(skin, shade))
    cloth = c.palette(_CLOTH, rig.f.background)
    shoulder = c.ellipse(x, y - 1.22, 0.82, 0.46)
    collar = c.ellipse(x, y - 0.70, 0.27, 0.20)
    shade = 0.85 + 0.5 * rig.light[0] * x - 0.35 * canvas.cover(-collar - 0.05, 0.12)
    canvas.paint(canvas.cover(np.maximum(shoulder, -collar)), [shade * light for light in cloth])


def _lit(skin: Plane, shade: Plane) -> list[Plane]:
    """Skin in light: shadows keep more red than blue, as light that has wandered below does."""
    return [
        light * (keep + (1.0 - keep) * shade)
        for light, keep in zip(skin, (0.16, 0.06, 0.03), strict=True)
    ]


def _ear(canvas: Canvas, rig: Rig, side: float, skin: Plane) -> None:
    u = side * (0.96 * rig.width - 0.3 * np.maximum(side * rig.turn, 0.0))
    v = 0.10 * rig.height + 0.2 * rig.nod
    with canvas.patch(*rig.patch_at(u, v), 0.2) as cut:
        p, q = rig.local(cut, u, v)
        p -= 0.2 * side * -q
        shade = 0.72 + 0.3 * side * rig.light[0] - 0.4 * c.glow(p - 0.01 * side, q, 0.06, 0.1)
        cut.paint(cut.cover(c.ellipse(p, q, 0.085, 0.135)), _lit(skin, shade))


def _face(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    canvas = canvas.crop(*rig.frame)
    u, v = rig.local(canvas)
    across, down = rig.face_shape(u, v)
    edge = c.ellipse(across, down, rig.width, rig.height)
    p = across / rig.width
    p -= 0.35 * rig.turn
    q = down / rig.height
    q += 0.25 * rig.nod
    deep = 1.0 - 0.86 * (p * p + q * q)
    np.maximum(deep, 0.02, out=deep)
    shade = rig.light[0] * p
    shade += rig.light[1] * q * 0.8
    shade += rig.towards * np.sqrt(deep)
    np.maximum(shade, 0.0, out=shade)
    shade *= 0.86
    shade += 0.33
    # the fringe's shadow, away from the light
    line, slope = rig.hairline(u + 0.06 * rig.f.light)
    fringe = (v - 0.07 - line) / np.sqrt(1.0 + slope * slope)
    shade *= 1.0 - 0.38 * canvas.cover(fringe, 0.10)
    canvas.paint(canvas.cover(edge), _lit(skin, shade))


def _cheek(canvas: Canvas, rig: Rig, side: float) -> None:
    u, v, seen = rig.at(0.52 * side, 0.32)
    with canvas.patch(*rig.patch_at(u, v), 0.24) as cut:
        p, q = rig.local(cut, u, v)
        cut.tint(c.glow(p, q, 0.19 * seen, 0.16), (1.13, 1.0, 0.97))


def _eye(canvas: Canvas, rig: Rig, side: float, hair: Plane) -> None:
    f, build = rig.f, rig.build
    u, v, seen = rig.at(side * build.eye_gap, build.eye_height)
    with canvas.patch(*rig.patch_at(u, v), 0.27) as cut:
        p, q = rig.local(cut, u, v)
        p /= seen
        cut.tint(c.glow(p, q + 0.03, 0.19, 0.13), (0.80, 0.74, 0.73))  # the socket
        across = p / 0.135
        arch = 1.0 - across * across
        opening = 0.014 + 0.068 * f.eyes
        upper = q + opening * arch
        lower = q - 0.72 * opening * arch
        almond = np.maximum(-upper, lower)
        np.maximum(almond, np.abs(p) - 0.14, out=almond)
        cut.paint(0.5 * cut.cover(almond - 0.03, 0.06), (0.22, 0.11, 0.09))  # lids
        inside = cut.cover(almond)
        white = 0.93 - 3.0 * np.maximum(0.04 - upper, 0.0)
        cut.paint(inside, (white, 0.97 * white, 0.95 * white))
        look = p - 0.076 * f.gaze - 0.02 * f.yaw
        rise = q + 0.012 * f.pitch
        iris = c.disc(look, rise, 0.058)
        iris_light = c.palette(_IRIS, f.hair_hue)
        cut.paint(inside * cut.cover(iris), iris_light * (0.9 + 6.0 * rise))
        cut.paint(inside * cut.cover(iris + 0.032), (0.04, 0.03, 0.04))
        spark = c.disc(look - 0.03 * f.light, rise + 0.026, 0.012)
        cut.paint(0.9 * inside * cut.cover(spark), (1.0, 1.0, 1.0))
        lash = np.maximum(np.abs(upper) - 0.011, np.abs(p) - 0.135)
        cut.paint(0.85 * cut.cover(lash), (0.10, 0.06, 0.06))
        # the brow: an arc that tilts with the mood
        out = side * p - 0.03
        arc = q + 0.165 + f.brows * (0.025 - 0.42 * out) - 2.2 * out * out
        brow = np.maximum(np.abs(arc) - 0.022 + 0.06 * out, np.abs(out) - 0.135)
        cut.paint(0.85 * cut.cover(brow, 0.035), 0.55 * hair)


def _nose(canvas: Canvas, rig: Rig) -> None:
    u, v, _ = rig.at(0.0, 0.27, 0.22)
    root, top, _ = rig.at(0.0, -0.05, 0.0)
    with canvas.patch(*rig.patch_at(u, v - 0.1), 0.3) as cut:
        p, q = rig.local(cut, u, v)
        up = np.clip(-q / (v - top), 0.0, 1.0)
        ridge = p - (root - u) * up  # across the bridge, which leans from the root to the tip
        side = c.glow(ridge, q + 0.10, 0.15 - 0.03 * up, 0.27)
        side *= np.clip(
            ridge * (-9.0 * rig.f.light - 3.0 * rig.f.yaw) + 0.9 * np.abs(ridge), -0.3, 0.6
        )
        cut.tint(side, (0.66, 0.52, 0.46))
        cut.tint(c.glow(p, q - 0.055, 0.14, 0.06), (0.62, 0.50, 0.48))
        for wing in (-1.0, 1.0):
            cut.tint(c.glow(p - 0.055 * wing, q - 0.035, 0.04, 0.03), (0.36, 0.26, 0.26))
        shine = c.glow(p - 0.03 * rig.f.light, q + 0.02, 0.055, 0.055)
        shine += 0.7 * c.glow(ridge - 0.02 * rig.f.light, q + 0.15, 0.04, 0.17)
        cut.tint(shine, (1.16, 1.18, 1.20))


def _mouth(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    f = rig.f
    u, v, seen = rig.at(0.0, 0.56, 0.05)
    half = (0.18 + 0.03 * f.smile) * (0.85 + 0.15 * seen)
    with canvas.patch(*rig.patch_at(u, v + 0.02), 0.27) as cut:
        p, q = rig.local(cut, u, v)
        across = p / half
        across *= across
        arch = np.maximum(1.0 - across, 0.0)
        q -= 0.09 * f.smile * (0.5 - across)
        gap = 0.11 * f.mouth * arch
        shut = c.unit(3.0 * arch)
        upper = -(q + 0.3 * gap + 0.045 * arch)
        lower = q - gap - 0.06 * arch
        red = skin * np.asarray([0.84, 0.52, 0.52], np.float32)[:, None, None, None]
        shade = 0.98 + 3.2 * np.clip(q - 0.5 * gap, -0.06, 0.04)
        lips = cut.cover(np.maximum(upper, lower)) * shut
        cut.paint(0.9 * lips, [shade * light for light in red])
        inside = np.maximum(-(q + 0.3 * gap), q - gap)
        cut.paint(shut * cut.cover(inside - 0.008), (0.22, 0.07, 0.07))
        teeth = np.maximum(inside, q - 0.35 * gap) + 0.25 * cut.pixel
        cut.paint(c.unit(20.0 * gap) * cut.cover(teeth), (0.93, 0.90, 0.86))
        cut.tint(c.glow(p, q - gap - 0.10, 0.16, 0.05), (0.74, 0.67, 0.65))
