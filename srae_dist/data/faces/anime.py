"""`anime`: flat colours, dark outlines, cel shadows, great eyes, a pointed chin, spiked hair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srae_dist.data.faces import canvas as c
from srae_dist.data.faces.canvas import Canvas, Colour, Plane
from srae_dist.data.faces.rig import Proportions, Rig

BUILD = Proportions(
    half_width=0.46,
    half_height=0.54,
    centre=0.05,
    taper=0.62,
    eye_gap=0.49,
    eye_height=0.14,
    hair=1.10,
    fringe=-0.60,
    sweep=0.75,
)
_SKIN = ((150, 92, 66), (204, 138, 100), (244, 190, 152), (255, 220, 194), (255, 236, 222))
_HAIR = ((116, 96, 255), (240, 84, 190), (255, 78, 66), (255, 150, 40), (255, 226, 84))
_SKY = ((255, 178, 196), (255, 226, 160), (184, 236, 168), (146, 232, 228), (160, 200, 255))
_DRESS = ((84, 190, 220), (110, 120, 230), (236, 100, 140), (250, 130, 90), (252, 214, 96))
_IRIS = ((240, 176, 40), (40, 190, 170), (60, 190, 90), (50, 140, 230), (120, 90, 230))
_BLUSH = (1.0, 0.42, 0.42)
_INK = (0.16, 0.09, 0.14)
_LINE = 0.018  # half an outline


def draw(canvas: Canvas, rows: NDArray[np.float32]) -> None:
    """Paint the rows' faces."""
    rig = Rig(rows, BUILD)
    f = rig.f
    skin = c.palette(_SKIN, f.skin)
    hair = c.palette(_HAIR, f.hair_hue) * (0.22 + 0.78 * f.hair_value)
    u, v = rig.local(canvas)
    _sky(canvas, rig)
    mass = _silhouette(rig, u, v)
    ink = hair * 0.30
    _outlined(canvas, mass, hair * np.float32(0.66), ink)
    _body(canvas, rig, skin)
    _face(canvas, rig, skin)
    for side in (-1.0, 1.0):
        _eye(canvas, rig, side)
    _nose_and_mouth(canvas, rig, skin)
    _front(canvas, rig, u, v, mass, hair, ink)
    for side in (-1.0, 1.0):
        _brow(canvas, rig, side, ink)


def _outlined(canvas: Canvas, edge: Plane, colour: Colour, ink: Colour) -> None:
    canvas.paint(canvas.cover(edge - _LINE), ink)
    canvas.paint(canvas.cover(edge + _LINE), colour)


def _sky(canvas: Canvas, rig: Rig) -> None:
    sky = c.palette(_SKY, rig.f.background)
    for plane, light in zip(canvas.rgb, sky, strict=True):
        plane[...] = light
    halo = c.disc(canvas.x - 0.25 * rig.f.light, canvas.y + 0.1, 0.86)
    canvas.paint(0.45 * canvas.cover(halo), (1.0, 1.0, 1.0))
    ring = np.abs(halo - 0.09) - 0.02
    canvas.paint(0.45 * canvas.cover(ring), (1.0, 1.0, 1.0))


def _silhouette(rig: Rig, u: Plane, v: Plane) -> Plane:
    """Distance to all the hair: the skull's capsule with spikes all around and pointed ends."""
    across, down = u - rig.skull, v - rig.crown
    around = across / (np.abs(across) + np.abs(down) + np.float32(1e-3))  # an angle without sines
    spikes = c.look_up(c.locks(2, 10), around)
    tips = c.look_up(c.locks(5, 11), u)
    fall = np.clip((v - rig.crown) * 2.5, 0.0, 1.0)
    edge = rig.hair(u, v - (0.05 + 0.24 * rig.f.hair_length) * (tips - 0.3) * fall, blunt=1.8)
    edge -= (0.07 + 0.13 * rig.f.hair_volume) * (spikes - 0.3) * (1.0 - fall)
    return edge


def _body(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    canvas = canvas.crop(*rig.below)
    x, y = canvas.x - 0.4 * rig.x, canvas.y + 0.0 * canvas.x
    shaded = _shadow(skin)
    neck = np.maximum(np.abs(x) - 0.13, 0.4 - y)
    _outlined(canvas, neck, shaded, skin * 0.35)
    dress = c.palette(_DRESS, rig.f.background)
    shoulder = c.ellipse(x, y - 1.24, 0.66, 0.44)
    _outlined(canvas, shoulder, dress, dress * 0.3)
    collar = np.maximum(np.abs(x) - 0.9 * (1.06 - y), 0.74 - y)
    canvas.paint(canvas.cover(np.maximum(collar, shoulder + _LINE)), (1.0, 1.0, 1.0))
    bare = np.maximum(np.abs(x) - 0.5 * (1.0 - y), 0.70 - y)
    canvas.paint(canvas.cover(bare), shaded)


def _shadow(colour: Plane) -> Plane:
    return colour * np.asarray([0.84, 0.66, 0.72], np.float32)[:, None, None, None]


def _face(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    canvas = canvas.crop(*rig.frame)
    u, v = rig.local(canvas)
    across, down = rig.face_shape(u, v)
    edge = c.ellipse(across, down, rig.width, rig.height)
    _outlined(canvas, edge, skin, skin * 0.35)
    lit = c.ellipse(across - 0.25 * rig.f.light, down + 0.05, rig.width, rig.height)
    line, slope = _fringe(rig, u)
    under = (v - 0.07 - line) / np.sqrt(1.0 + slope * slope)
    dark = np.maximum(np.minimum(-lit, under), edge + _LINE)
    canvas.paint(canvas.cover(dark), _shadow(skin))
    for side in (-1.0, 1.0):
        x, y, seen = rig.at(0.60 * side, 0.50)
        canvas.paint(0.4 * canvas.cover(c.ellipse(u - x, v - y, 0.09 * seen, 0.045), 0.06), _BLUSH)


def _fringe(rig: Rig, u: Plane) -> tuple[Plane, Plane]:
    line, slope = rig.hairline(u)
    line += 0.22 * c.look_up(c.locks(9, 8), u - rig.part) - 0.04
    return line, slope + 0.8


def _front(
    canvas: Canvas, rig: Rig, u: Plane, v: Plane, mass: Plane, hair: Plane, ink: Plane
) -> None:
    line, slope = _fringe(rig, u)
    edge = (v - line) / np.sqrt(1.0 + slope * slope)
    np.maximum(edge, mass, out=edge)
    _outlined(canvas, edge, hair, ink)
    inside = edge + _LINE
    p, q = (u - rig.skull) / rig.bulk, (v - rig.crown) / rig.bulk
    lock = c.look_up(c.locks(9, 8), 0.7 * p)
    lit = c.disc(p - 0.55 * rig.f.light, np.minimum(q, 0.0) + 0.12, 1.0)
    shade = np.maximum(-0.4 * lit, inside)
    canvas.paint(canvas.cover(shade), hair * np.float32(0.74))
    bend = q + 0.50 - 0.22 * p * p - 0.16 * lock
    band = np.abs(bend) - 0.09 * (1.0 - 1.2 * p * p)
    band = np.maximum(band * 0.45, inside)
    canvas.paint(0.55 * canvas.cover(band), np.minimum(1.35 * hair + 0.32, 1.0))


def _eye(canvas: Canvas, rig: Rig, side: float) -> None:
    f = rig.f
    u, v, seen = rig.at(side * BUILD.eye_gap, BUILD.eye_height)
    with canvas.patch(*rig.patch_at(u, v), 0.32) as cut:
        p, q = rig.local(cut, u, v)
        p /= seen
        across = p / 0.155
        across *= across
        arch = 1.0 - across * across
        opening = 0.02 + 0.185 * f.eyes
        upper = q + opening * arch
        lower = q - (0.05 + 0.6 * opening) * arch
        inside = cut.cover(np.maximum(np.maximum(-upper, lower), np.abs(p) - 0.145))
        cut.paint(inside, (1.0, 1.0, 1.0))
        cut.paint(inside * (0.30 * c.unit(1.6 - 10.0 * upper)), (0.45, 0.45, 0.65))
        look = p - 0.062 * f.gaze - 0.025 * f.yaw
        rise = q - 0.005 + 0.02 * f.pitch
        iris = c.ellipse(look, rise, 0.092, 0.145)
        colour = c.palette(_IRIS, f.hair_hue)
        cut.paint(inside * cut.cover(iris), colour * 0.32)
        down = c.unit(0.5 + 4.2 * rise)
        fill = [0.45 * light + down * (0.62 * light + 0.12) for light in colour]
        cut.paint(inside * cut.cover(iris + 0.02), fill)
        cut.paint(inside * cut.cover(c.ellipse(look, rise, 0.04, 0.07)), colour * 0.15)
        spark = c.ellipse(look - 0.035 * f.light + 0.008, rise + 0.065, 0.034, 0.042)
        cut.paint(inside * cut.cover(spark), (1.0, 1.0, 1.0))
        glint = c.disc(look + 0.035 * f.light, rise - 0.07, 0.02)
        cut.paint(0.8 * inside * cut.cover(glint), (1.0, 1.0, 1.0))
        out = side * p
        lash = np.abs(upper + 0.006) - 0.022 - 0.08 * np.clip(out, -0.1, 0.16)
        lash = np.maximum(lash * 0.8, np.abs(out - 0.012) - 0.165)
        cut.paint(cut.cover(lash), _INK)
        lid = np.maximum(np.abs(lower) - 0.008, np.abs(out - 0.04) - 0.09)
        cut.paint(0.7 * cut.cover(lid), _INK)


def _brow(canvas: Canvas, rig: Rig, side: float, ink: Plane) -> None:
    f = rig.f
    u, v, seen = rig.at(side * BUILD.eye_gap, BUILD.eye_height - 0.49)
    with canvas.patch(*rig.patch_at(u, v), 0.24) as cut:
        p, q = rig.local(cut, u, v)
        out = side * p / seen
        arc = q + 0.02 + f.brows * (0.045 - 0.5 * out) - 1.6 * out * out
        brow = np.maximum(np.abs(arc) - 0.017, np.abs(out) - 0.13)
        cut.paint(0.85 * cut.cover(brow), ink)


def _nose_and_mouth(canvas: Canvas, rig: Rig, skin: Plane) -> None:
    f = rig.f
    u, v, seen = rig.at(0.0, 0.46, 0.06)
    with canvas.patch(*rig.patch_at(u, v), 0.1) as cut:
        p, q = rig.local(cut, u, v)
        tick = np.maximum(np.abs(p + 0.02 * f.light + 0.35 * q) - 0.014, np.abs(q) - 0.026)
        cut.paint(0.7 * cut.cover(tick), skin * 0.5)
    u, v, seen = rig.at(0.0, 0.67)
    half = (0.125 + 0.02 * f.smile) * seen
    with canvas.patch(*rig.patch_at(u, v + 0.03), 0.23) as cut:
        p, q = rig.local(cut, u, v)
        across = p / half
        across *= across
        arch = np.maximum(1.0 - across, 0.0)
        shut = c.unit(4.0 * arch)
        q -= 0.085 * f.smile * (0.5 - across)
        gap = 0.135 * f.mouth * np.sqrt(arch)
        inside = np.maximum(-q, q - gap)
        cut.paint(shut * cut.cover(inside - 0.017), _INK)
        full = c.unit(25.0 * gap - 0.5)
        cut.paint(full * cut.cover(inside + 0.006), (0.72, 0.20, 0.24))
        tongue = np.maximum(inside + 0.012, -(q - 0.55 * gap))
        cut.paint(full * cut.cover(tongue), (1.0, 0.55, 0.55))
