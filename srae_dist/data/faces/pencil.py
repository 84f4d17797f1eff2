"""`pencil`: grey paper, sketched lines, hatching where it is dark; every colour becomes a tone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srae_dist.data.faces import canvas as c
from srae_dist.data.faces.canvas import Canvas, Plane
from srae_dist.data.faces.rig import Proportions, Rig

BUILD = Proportions(
    half_width=0.40,
    half_height=0.60,
    centre=0.0,
    taper=0.34,
    eye_gap=0.46,
    eye_height=0.02,
    hair=1.13,
    fringe=-0.70,
    sweep=2.0,
)
_SKIN = (0.78, 0.40, 0.0)  # darkness from dark to fair
_HUE = (0.16, 0.10, 0.05, -0.05, -0.20)  # what a hair hue adds to its darkness
_WALL = (0.10, 0.24, 0.38, 0.52, 0.68)
_PAPER = 0.86
_TINT = (1.0, 0.985, 0.955)
_GRAPHITE = 0.17


def draw(canvas: Canvas, rows: NDArray[np.float32]) -> None:
    """Draw the rows' faces: in one plane, then copied to all three."""
    rig = Rig(rows, BUILD)
    sheet = Canvas(canvas.rgb[:1], canvas.x, canvas.y, canvas.pixel)
    u, v = rig.local(canvas)
    sheet.rgb[...] = _PAPER
    _background(sheet, rig)
    hair_tone = 0.90 - 0.72 * rig.f.hair_value + _tone(_HUE, rig.f.hair_hue)
    strand = c.look_up(c.strands(4, 64), (u - rig.part) / (np.maximum(v - rig.fringe, -0.3) + 0.9))
    wave = 0.03 * c.look_up(c.strands(6, 18), v - 0.7 * np.abs(u))
    mass = rig.hair(u, v, blunt=1.2) - wave
    _fill(sheet, mass, 0.12 + hair_tone, strand)
    _line(sheet, mass, 0.013)
    _body(sheet, rig)
    _face(sheet, rig)
    for side in (-1.0, 1.0):
        _eye(sheet, rig, side, hair_tone)
    _nose(sheet, rig)
    _mouth(sheet, rig)
    line, slope = rig.hairline(u)
    front = (v - line - 0.05 * strand) / np.sqrt(1.0 + slope * slope)
    np.maximum(front, mass, out=front)
    _fill(sheet, front, hair_tone, strand)
    _line(sheet, front, 0.010)
    plane = sheet.rgb[0]
    plane += 0.022 * c.grain(plane.shape[-1], 2)
    for channel, tint in zip(canvas.rgb[::-1], _TINT[::-1], strict=True):
        np.multiply(plane, tint, out=channel)


def _tone(knots: tuple[float, ...], place: Plane) -> Plane:
    """Walk along grey knots as ``canvas.palette`` walks along colours."""
    way = np.clip(place, 0.0, 1.0) * np.float32(len(knots) - 1)
    tone = np.float32(knots[0]) + 0.0 * way
    for i in range(len(knots) - 1):
        tone += np.float32(knots[i + 1] - knots[i]) * np.clip(way - i, 0.0, 1.0)
    return tone


def _strokes(sheet: Canvas, dark: Plane, marks: float) -> Plane:
    """Graphite for a wanted darkness: a smudge and, by the share ``marks``, crossing strokes."""
    ink = c.unit((dark * 1.2 - 0.05 - _hatch(sheet, 1.2)) * 2.0)
    ink += 0.5 * c.unit((dark * 1.1 - 0.40 - 0.7 * _hatch(sheet, -0.9)) * 2.0)
    ink *= marks
    ink += (0.75 - 0.6 * marks) * np.minimum(dark, 1.1)
    return ink


def _hatch(sheet: Canvas, slant: float) -> Plane:
    """How dark a spot must be for a stroke to pass, ``(1, H, W)``: from 0 mid-stroke to 1."""
    period = max(0.115, 3.2 * sheet.pixel)
    way = (sheet.x + slant * sheet.y) * (1.0 / (period * (1.0 + slant * slant) ** 0.5))
    way += 0.06 * c.look_up(c.strands(3, 20), 0.5 * (slant * sheet.x - sheet.y))
    way -= np.floor(way)
    return np.asarray(np.abs(2.0 * way - 1.0))


def _fill(sheet: Canvas, edge: Plane, tone: Plane, strand: Plane) -> None:
    """Fill a shape of hair with strokes that follow the strands."""
    ink = c.unit((tone + 0.55 * strand + 0.02) * 0.9)
    sheet.paint(sheet.cover(edge), (_PAPER + (_GRAPHITE - _PAPER) * ink,))


def _line(sheet: Canvas, edge: Plane, half: float, dark: float = 0.9) -> None:
    """Draw along a shape's edge."""
    sheet.paint(dark * sheet.cover(np.abs(edge) - half), (_GRAPHITE,))


def _background(sheet: Canvas, rig: Rig) -> None:
    tone = _tone(_WALL, rig.f.background)
    near = c.glow(sheet.x + 0.5 * rig.f.light, sheet.y - 0.1, 1.5, 1.5)
    sheet.paint(_strokes(sheet, (0.5 + 0.5 * near) * tone, 0.55), (_GRAPHITE + 0.2,))


def _body(sheet: Canvas, rig: Rig) -> None:
    sheet = sheet.crop(*rig.below)
    x, y = sheet.x - 0.35 * rig.x, sheet.y + 0.0 * sheet.x
    neck = np.maximum(np.abs(x) - 0.17 - 0.5 * np.maximum(y - 0.78, 0.0), 0.35 - y)
    skin = _tone(_SKIN, rig.f.skin)
    dark = 0.45 * skin + 0.75 * c.glow(x + 0.1 * rig.f.light, y - 0.52, 0.3, 0.34)
    cover = sheet.cover(neck)
    sheet.paint(cover, (_PAPER,))
    sheet.paint(cover * _strokes(sheet, dark, 0.3), (_GRAPHITE,))
    _line(sheet, neck, 0.009)
    shoulder = c.ellipse(x, y - 1.30, 0.86, 0.46)
    sheet.paint(sheet.cover(shoulder), (_PAPER,))
    _line(sheet, shoulder, 0.011)
    folds = np.abs(np.abs(x) - 0.42 - 0.5 * (1.0 - y)) - 0.008
    sheet.paint(0.7 * sheet.cover(np.maximum(folds, shoulder)), (_GRAPHITE,))
    collar = c.ellipse(x, y - 0.78, 0.24, 0.13)
    _line(sheet, np.maximum(collar, 0.80 - y), 0.011)


def _face(sheet: Canvas, rig: Rig) -> None:
    f = rig.f
    sheet = sheet.crop(*rig.frame)
    u, v = rig.local(sheet)
    for side in (-1.0, 1.0):
        x = side * (0.97 * rig.width - 0.3 * np.maximum(side * rig.turn, 0.0))
        ear = c.ellipse(u - x, v - 0.10 - 0.2 * rig.nod, 0.075, 0.15)
        sheet.paint(sheet.cover(ear), (_PAPER - 0.4 * _tone(_SKIN, f.skin),))
        _line(sheet, ear, 0.010)
    across, down = rig.face_shape(u, v)
    edge = c.ellipse(across, down, rig.width, rig.height)
    cover = sheet.cover(edge)
    sheet.paint(cover, (_PAPER + 0.09,))
    p, q = across / rig.width - 0.35 * rig.turn, down / rig.height
    dark = 0.62 * _tone(_SKIN, f.skin) + np.clip(-1.15 * f.light * p - 0.12, 0.0, 0.7)
    dark += 0.35 * np.maximum(p * p + q * q - 0.55, 0.0)
    for side in (-1.0, 1.0):
        x, y, seen = rig.at(0.44 * side, -0.08)
        dark += 0.22 * c.glow(u - x, v - y, 0.16 * seen, 0.10)
    line, _ = rig.hairline(u)
    dark += 0.35 * c.unit(1.0 - np.abs(v - line) * 9.0)
    sheet.paint(cover * _strokes(sheet, dark, 0.3), (_GRAPHITE,))
    _line(sheet, edge, 0.012)


def _eye(sheet: Canvas, rig: Rig, side: float, hair_tone: Plane) -> None:
    f = rig.f
    u, v, seen = rig.at(side * BUILD.eye_gap, BUILD.eye_height)
    with sheet.patch(*rig.patch_at(u, v), 0.31) as cut:
        p, q = rig.local(cut, u, v)
        p /= seen
        across = p / 0.13
        arch = 1.0 - across * across
        opening = 0.012 + 0.088 * f.eyes
        upper = q + opening * arch
        lower = q - 0.6 * opening * arch
        inside = cut.cover(np.maximum(np.maximum(-upper, lower), np.abs(p) - 0.13))
        cut.paint(inside, (0.97,))
        look = p - 0.058 * f.gaze - 0.02 * f.yaw
        rise = q + 0.012 * f.pitch
        iris = c.disc(look, rise, 0.06)
        cut.paint(inside * cut.cover(iris), (0.44 + 2.2 * rise,))
        cut.paint(inside * cut.cover(np.abs(iris) - 0.009), (_GRAPHITE,))
        cut.paint(inside * cut.cover(iris + 0.032), (0.08,))
        cut.paint(inside * cut.cover(c.disc(look - 0.025 * f.light, rise + 0.028, 0.014)), (1.0,))
        ends = np.abs(p) - 0.15
        lash = np.maximum(np.abs(upper) - 0.014, ends)
        cut.paint(0.95 * cut.cover(lash), (0.10,))
        cut.paint(0.6 * cut.cover(np.maximum(np.abs(lower) - 0.006, ends + 0.03)), (_GRAPHITE,))
        crease = np.maximum(np.abs(upper + 0.034) - 0.006, ends + 0.02)
        cut.paint(0.6 * cut.cover(crease), (_GRAPHITE,))
        out = side * p - 0.02
        arc = q + 0.185 + f.brows * (0.025 - 0.45 * out) - 2.0 * out * out
        comb = c.look_up(c.strands(8, 40), p + 0.6 * side * q)
        brow = np.maximum(np.abs(arc) - 0.030 + 0.09 * out, np.abs(out) - 0.15)
        ink = (0.62 + 0.3 * hair_tone) * (0.8 + 0.2 * comb)
        cut.paint(ink * cut.cover(brow - 0.008 * comb), (_GRAPHITE,))


def _nose(sheet: Canvas, rig: Rig) -> None:
    f = rig.f
    u, v, _ = rig.at(0.0, 0.34, 0.26)
    root, top, _ = rig.at(0.0, -0.12)
    with sheet.patch(*rig.patch_at(u, v - 0.12), 0.31) as cut:
        p, q = rig.local(cut, u, v)
        up = np.clip(-q / (v - top), 0.0, 1.0)
        lee = -0.05 * f.light - 0.03 * f.yaw  # the line runs down the shaded side
        ridge = p - (root - u) * up - lee * (1.0 + 0.5 * up * (1.0 - up))
        bridge = np.maximum(np.abs(ridge) - 0.010, np.abs(q + 0.14) - 0.14)
        cut.paint(0.8 * cut.cover(bridge), (_GRAPHITE,))
        tip = np.maximum(np.abs(q - 0.045 + 4.0 * p * p) - 0.011, np.abs(p) - 0.08)
        cut.paint(0.9 * cut.cover(tip), (_GRAPHITE,))
        for side in (-1.0, 1.0):
            wing = np.abs(c.ellipse(p - 0.075 * side, q - 0.01, 0.035, 0.04)) - 0.008
            cut.paint(0.7 * cut.cover(np.maximum(wing, 0.06 - side * p)), (_GRAPHITE,))
            hole = c.ellipse(p - 0.042 * side, q - 0.025, 0.02, 0.011)
            cut.paint(0.8 * cut.cover(hole), (_GRAPHITE,))


def _mouth(sheet: Canvas, rig: Rig) -> None:
    f = rig.f
    u, v, seen = rig.at(0.0, 0.60, 0.05)
    half = (0.16 + 0.03 * f.smile) * (0.85 + 0.15 * seen)
    with sheet.patch(*rig.patch_at(u, v + 0.03), 0.27) as cut:
        p, q = rig.local(cut, u, v)
        across = p / half
        across *= across
        arch = np.maximum(1.0 - across, 0.0)
        shut = c.unit(3.0 * arch)
        q -= 0.085 * f.smile * (0.5 - across)
        gap = 0.10 * f.mouth * arch
        upper = q + 0.25 * gap + 0.040 * arch
        lower = q - gap - 0.055 * arch
        lips = shut * cut.cover(np.maximum(-upper, lower))
        cut.paint(0.35 * lips, (_GRAPHITE,))
        inside = np.maximum(-(q + 0.25 * gap), q - gap)
        cut.paint(shut * cut.cover(inside - 0.010), (0.12,))
        teeth = np.maximum(inside, q - 0.4 * gap) + 0.25 * cut.pixel
        cut.paint(c.unit(20.0 * gap) * cut.cover(teeth), (0.92,))
        outline = np.minimum(np.abs(upper), np.abs(lower)) - 0.005
        cut.paint(0.5 * shut * cut.cover(outline), (_GRAPHITE,))
        under = np.maximum(np.abs(q - gap - 0.105 + 0.6 * p * p) - 0.008, np.abs(p) - 0.07)
        cut.paint(0.6 * cut.cover(under), (_GRAPHITE,))
