"""Draw the pictures of docs/method.md: `python docs/draw_method.py` writes images/method-*.svg.

The faces in them are the built-in ones, so the drawings need no data. Content and domain codes have
the colours that they have in the evaluation's figures.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageFilter

from srae_dist.core import atomic
from srae_dist.data import faces
from srae_dist.evaluation.palette import CONTENT, DOMAIN, style_of

FOLDER = Path(__file__).parent / "images"
WIDTH = 960
INK, FAINT, LINE = "#24292f", "#57606a", "#37474f"
NEUTRAL, ADVERSARY, FROZEN = "#eceff1", "#b45309", "#3b5b8c"
TINTS = {CONTENT: "#d9efe8", DOMAIN: "#f5deec", ADVERSARY: "#fdf0dc", FROZEN: "#e3eaf4"}
PHOTO, ANIME = style_of(0)[0], style_of(1)[0]
SANS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
SERIF = "'STIX Two Text', Cambria, Georgia, 'Times New Roman', 'Liberation Serif', serif"
FACE, OTHER = 5, 22  # rows of the table of faces: the source, and who lends a domain code
Point = tuple[float, float]


class Drawing:
    """An SVG on a white panel, so that it reads on light pages and dark ones."""

    def __init__(self, height: int, title: str) -> None:
        self.height, self.title = height, title
        self.parts: list[str] = []
        self.heads: set[str] = set()

    def add(self, text: str) -> None:
        self.parts.append(text)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 16,
        fill: str = INK,
        anchor: str = "middle",
        bold: bool = False,
        plain: bool = False,
    ) -> None:
        """Set a line: *x* is a symbol, _c or _{cd} is set low, ^c or ^{cd} high; or as it is."""
        weight = ' font-weight="700"' if bold else ""
        inside = escape(words) if plain else markup(words, size)
        self.add(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" '
            f'text-anchor="{anchor}"{weight}>{inside}</text>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        lines: Sequence[str],
        *,
        colour: str = LINE,
        fill: str | None = None,
        ink: str | None = None,
        dashed: bool = False,
    ) -> None:
        """A rounded box with lines of text in its middle."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        inside = TINTS.get(colour, NEUTRAL) if fill is None else fill
        self.add(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="9" '
            f'fill="{inside}" stroke="{colour}" stroke-width="2"{dash}/>'
        )
        middle = y + height / 2 - 11 * (len(lines) - 1) + 6
        for number, words in enumerate(lines):
            self.text(x + width / 2, middle + 22 * number, words, fill=ink or INK)

    def funnel(self, x: float, width: float, left: float, right: float, y: float) -> None:
        """A trapezoid around the height y: an encoder narrows, a decoder widens."""
        points = [(x, y - left), (x + width, y - right), (x + width, y + right), (x, y + left)]
        self.add(
            f'<polygon points="{path(points)}" fill="{NEUTRAL}" stroke="{LINE}" stroke-width="2" '
            'stroke-linejoin="round"/>'
        )

    def slab(self, x: float, y: float, side: float, depth: float, *, colour: str = LINE) -> None:
        """Maps of side x side, as deep as they have channels; (x, y) is the front's middle left."""
        tint = TINTS.get(colour, NEUTRAL)
        top, bottom, skew = y - side / 2, y + side / 2, side * 0.28
        style = f'stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"'
        lid = [(x, top), (x + skew, top - skew), (x + skew + depth, top - skew), (x + depth, top)]
        back = [
            (x + depth, top), (x + depth + skew, top - skew),
            (x + depth + skew, bottom - skew), (x + depth, bottom),
        ]  # fmt: skip
        self.add(f'<polygon points="{path(lid)}" fill="#ffffff" {style}/>')
        self.add(f'<polygon points="{path(back)}" fill="{colour}" fill-opacity="0.42" {style}/>')
        self.add(
            f'<rect x="{x:g}" y="{top:g}" width="{depth:g}" height="{side:g}" fill="{tint}" '
            f"{style}/>"
        )

    def arrow(self, points: Sequence[Point], *, colour: str = LINE, teaches: bool = False) -> None:
        """A line through points that ends in a head; dashed if it carries a gradient."""
        self.heads.add(colour)
        dash = ' stroke-dasharray="7 5"' if teaches else ""
        self.add(
            f'<polyline points="{path(points)}" fill="none" stroke="{colour}" stroke-width="2.2" '
            f'stroke-linejoin="round"{dash} marker-end="url(#head{colour[1:]})"/>'
        )

    def line(self, points: Sequence[Point], *, colour: str = LINE) -> None:
        self.add(
            f'<polyline points="{path(points)}" fill="none" stroke="{colour}" stroke-width="2.2" '
            'stroke-linejoin="round"/>'
        )

    def picture(
        self, x: float, y: float, image: Image.Image, *, frame: str, side: int = 96
    ) -> None:
        """A face, framed in its domain's colour."""
        data = io.BytesIO()
        image.save(data, "JPEG", quality=88)
        code = base64.b64encode(data.getvalue()).decode()
        self.add(
            f'<image x="{x:g}" y="{y:g}" width="{side}" height="{side}" '
            f'href="data:image/jpeg;base64,{code}"/>'
            f'<rect x="{x:g}" y="{y:g}" width="{side}" height="{side}" fill="none" '
            f'stroke="{frame}" stroke-width="4" rx="2"/>'
        )

    def node(self, x: float, y: float, words: str, *, radius: float = 17) -> None:
        """A small circle with a sign in it."""
        self.add(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="#ffffff" stroke="{LINE}" '
            'stroke-width="2"/>'
        )
        self.text(x, y + 6, words, size=18)

    def legend(self, x: float, y: float) -> None:
        """What the two kinds of arrows mean."""
        self.arrow([(x, y), (x + 46, y)])
        self.text(x + 58, y + 5, "images and codes", size=14, fill=FAINT, anchor="start")
        self.arrow([(x + 200, y), (x + 246, y)], teaches=True)
        self.text(x + 258, y + 5, "what teaches whom", size=14, fill=FAINT, anchor="start")

    def save(self, name: str) -> None:
        """Write docs/images/method-{name}.svg."""
        heads = "".join(
            f'<marker id="head{colour[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0.6 L9.5 5 L0 9.4 z" '
            f'fill="{colour}"/></marker>'
            for colour in sorted(self.heads)
        )
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
            f'width="{WIDTH}" height="{self.height}" role="img" font-family="{SANS}">\n'
            f"<title>{escape(self.title)}</title>\n<defs>{heads}</defs>\n"
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{self.height - 1}" rx="12" '
            'fill="#ffffff" stroke="#d0d7de"/>\n'
        )
        text = head + "\n".join(self.parts) + "\n</svg>\n"
        atomic.write_text(FOLDER / f"method-{name}.svg", text)


def path(points: Sequence[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def markup(words: str, size: int) -> str:
    """Symbols in italics, indices low or high; the line then goes on where it was."""
    shift, out = 0.0, []
    for match in re.finditer(r"\*([^*]+)\*|([_^])(?:\{([^}]*)\}|(.))|([^*_^]+)", words):
        symbol, where, braced, single, plain = match.groups()
        want = 0.0 if where is None else round(size * (0.24 if where == "_" else -0.36), 1)
        move = f' dy="{want - shift:g}"' if want != shift else ""
        shift = want
        if symbol:
            style = f' font-family="{SERIF}" font-style="italic" font-size="{size * 1.12:.3g}"'
            out.append(f"<tspan{move}{style}>{escape(symbol)}</tspan>")
        elif where:
            small = f' font-family="{SERIF}" font-style="italic" font-size="{size * 0.76:.3g}"'
            out.append(f"<tspan{move}{small}>{escape(braced or single)}</tspan>")
        else:
            out.append(f"<tspan{move}>{escape(plain)}</tspan>")
    return "".join(out)


def face(row: int, domain: str) -> Image.Image:
    """A built-in face."""
    return Image.fromarray(
        faces.render(faces.sample_factors(1, seed=4, start=row), domain, size=128)[0]
    )


def soft(image: Image.Image) -> Image.Image:
    """What a decoder might make of it."""
    return image.filter(ImageFilter.GaussianBlur(1.6))


def draw_architecture(*, two: bool) -> Drawing:
    """Fig. 1: the whole, with one discriminator (a) or two (b)."""
    count = "two discriminators" if two else "one discriminator"
    drawing = Drawing(520 if two else 430, f"The Split Representation Auto-Encoder with {count}")
    y, foot = 205, 430 if two else 340
    drawing.add('<g transform="translate(27 0)">')
    drawing.picture(28, y - 48, face(FACE, "photo"), frame=PHOTO)
    drawing.text(76, y + 74, "image *x*", anchor="middle")
    drawing.text(76, y + 94, "of domain *y*", anchor="middle")
    drawing.arrow([(130, y), (166, y)])
    drawing.funnel(170, 122, 84, 50, y)
    drawing.text(231, y - 3, "encoder", bold=True)
    drawing.text(231, y + 20, "*f*")
    drawing.arrow([(292, y - 25), (318, y - 25), (318, y - 62), (346, y - 62)], colour=CONTENT)
    drawing.arrow([(292, y + 25), (318, y + 25), (318, y + 62), (346, y + 62)], colour=DOMAIN)
    drawing.box(350, y - 91, 150, 58, ["content code", "*z*_c"], colour=CONTENT)
    drawing.box(350, y + 33, 150, 58, ["domain code", "*z*_d"], colour=DOMAIN)
    drawing.line([(500, y - 62), (540, y - 62), (540, y - 17)], colour=CONTENT)
    drawing.line([(500, y + 62), (540, y + 62), (540, y + 17)], colour=DOMAIN)
    drawing.node(540, y, "∥")
    drawing.arrow([(557, y), (604, y)])
    drawing.funnel(608, 122, 50, 84, y)
    drawing.text(669, y - 3, "decoder", bold=True)
    drawing.text(669, y + 20, "*g*")
    drawing.arrow([(730, y), (778, y)])
    drawing.picture(784, y - 48, soft(face(FACE, "photo")), frame=PHOTO)
    drawing.text(832, y + 74, "reconstruction")
    drawing.text(832, y + 94, "*x̂*")

    _judge(drawing, "c", "content", 52, code=y - 91, encoder=y - 62, colour=CONTENT)
    if two:
        _judge(drawing, "d", "domain", y + 165, code=y + 91, encoder=y + 62, colour=DOMAIN)
    drawing.line([(76, y + 104), (76, foot + 16), (310, foot + 16)], colour=FROZEN)
    drawing.line([(832, y + 104), (832, foot + 16), (650, foot + 16)], colour=FROZEN)
    words = ["*L*_r  compares both in VGG-16's features", "teaches encoder and decoder"]
    drawing.box(310, foot - 10, 340, 52, words, colour=FROZEN)
    drawing.add("</g>")
    drawing.legend(312, foot + 66)
    return drawing


def _judge(
    drawing: Drawing, index: str, stream: str, y: float, *, code: float, encoder: float, colour: str
) -> None:
    """A discriminator at height y, what teaches it, and what it teaches a stream."""
    away = 26 if y > code else -26
    drawing.arrow([(425, code), (425, y - away - away / 13)], colour=colour)
    drawing.box(350, y - 26, 150, 52, [f"discriminator *q*_{index}"], colour=ADVERSARY)
    drawing.arrow([(554, y), (504, y)], colour=ADVERSARY, teaches=True)
    words = f"*L*_q^{index}  finds the domain in *z*_{index}"
    drawing.text(564, y - 6, words, anchor="start", fill=ADVERSARY)
    drawing.text(564, y + 16, f"teaches *q*_{index}", anchor="start", size=14, fill=FAINT)
    drawing.arrow([(350, y), (262, y), (262, encoder)], colour=colour, teaches=True)
    mood = "unsure" if index == "c" else "sure"
    words = f"*L*_{index}  makes *q*_{index} {mood}"
    drawing.text(252, y - 6, words, anchor="end", fill=colour)
    drawing.text(252, y + 16, "teaches the", anchor="end", size=14, fill=FAINT)
    drawing.text(252, y + 34, f"{stream} stream", anchor="end", size=14, fill=FAINT)


def draw_networks() -> Drawing:
    """Fig. 2: the encoder (a) and the decoder (b)."""
    drawing = Drawing(726, "The encoder and the decoder")
    drawing.text(26, 38, "(a)  encoder *f*", size=18, anchor="start", bold=True)
    y = 225
    drawing.picture(26, y - 48, face(FACE, "photo"), frame=PHOTO)
    drawing.text(74, y + 74, "*x*")
    drawing.arrow([(128, y), (152, y)])
    _maps(drawing, 158, y, SHRINKING)
    drawing.text(236, y + 92, "trunk *f*_ϕ: convolutions", size=15)
    drawing.text(236, y + 112, "that halve the size", size=15)
    drawing.line([(348, y), (372, y)])
    _stream(drawing, y, -1, "c", "content", CONTENT)
    _stream(drawing, y, 1, "d", "domain", DOMAIN)
    drawing.node(706, y, "*ε*", radius=20)
    drawing.arrow([(706, y - 20), (706, y - 55)])
    drawing.arrow([(706, y + 20), (706, y + 55)])
    drawing.text(738, y - 4, "fresh noise", size=14, fill=FAINT, anchor="start")
    drawing.text(738, y + 15, "*N* (0, 1)", size=14, fill=FAINT, anchor="start")
    drawing.add('<line x1="26" x2="934" y1="442" y2="442" stroke="#d0d7de"/>')
    drawing.text(26, 478, "(b)  decoder *g*", size=18, anchor="start", bold=True)
    _decoder(drawing, 592)
    return drawing


SHRINKING = ((112, 10), (84, 18), (58, 26), (38, 34))  # side and depth of maps


def _maps(drawing: Drawing, x: float, y: float, sizes: Sequence[tuple[float, float]]) -> float:
    """A row of maps; returns where it ends."""
    for side, depth in sizes:
        drawing.slab(x, y + side * 0.14, side, depth)
        x += depth + side * 0.28 + 6
    return x


def _stream(drawing: Drawing, middle: float, sign: int, index: str, name: str, colour: str) -> None:
    """A stream, its mean and sigma, and how a code is drawn: sigma lies towards the noise."""
    y = middle + sign * 105
    mean, sigma = y + sign * 34, y - sign * 34
    drawing.arrow([(372, middle), (372, y), (396, y)], colour=colour)
    drawing.box(400, y - 30, 96, 60, [name, f"stream *f*_{index}"], colour=colour)
    for level, start in ((mean, y + sign * 12), (sigma, y - sign * 12)):
        drawing.arrow([(497, start), (518, level), (540, level)], colour=colour)
        if index == "c":
            drawing.slab(546, level + 4, 30, 32, colour=colour)
        else:
            drawing.slab(546, level + 2, 10, 24, colour=colour)
            drawing.arrow([(578, level), (618, level)], colour=colour)
            drawing.slab(624, level + 4, 30, 18, colour=colour)
    left = 591 if index == "c" else 655
    drawing.line([(left, mean), (764, mean), (764, y + sign * 17)], colour=colour)
    drawing.line([(left, sigma), (690, sigma)], colour=colour)
    drawing.line([(722, sigma), (764, sigma), (764, y - sign * 17)], colour=colour)
    drawing.node(706, sigma, "×", radius=16)
    drawing.node(764, y, "+", radius=16)
    drawing.arrow([(781, y), (820, y)], colour=colour)
    drawing.slab(828, y + 7, 50, 34 if index == "c" else 18, colour=colour)
    shift = 2 if index == "c" else -6
    drawing.text(562 + shift, mean + (-28 if sign < 0 else 36), f"*μ*_{index}", size=18)
    drawing.text(562 + shift, sigma + (40 if sign < 0 else -20), f"*σ*_{index}", size=18)
    if index == "d":
        drawing.text(
            634, mean + 40, "repeated *a* × *b* times", size=14, fill=FAINT, anchor="start"
        )
    drawing.text(852, y + 60, f"*z*_{index}", size=18)
    drawing.text(852, y + 82, f"*a* × *b* × *{'k' if index == 'c' else 'j'}*", size=14, fill=FAINT)


def _decoder(drawing: Drawing, y: float) -> None:
    drawing.slab(40, y - 48, 50, 34, colour=CONTENT)
    drawing.text(100, y - 44, "*z*_c", size=18, anchor="start")
    drawing.slab(40, y + 62, 50, 18, colour=DOMAIN)
    drawing.text(84, y + 66, "*z*_d", size=18, anchor="start")
    drawing.line([(132, y - 50), (172, y - 50), (172, y - 17)], colour=CONTENT)
    drawing.line([(116, y + 60), (172, y + 60), (172, y + 17)], colour=DOMAIN)
    drawing.node(172, y, "∥")
    drawing.arrow([(189, y), (216, y)])
    drawing.slab(222, y + 7, 50, 34, colour=CONTENT)
    drawing.slab(256, y + 7, 50, 18, colour=DOMAIN)
    drawing.text(252, y + 60, "*z*", size=18)
    drawing.text(252, y + 82, "*a* × *b* × (*k* + *j*)", size=14, fill=FAINT)
    drawing.arrow([(292, y), (328, y)])
    end = _maps(drawing, 334, y, SHRINKING[::-1])
    drawing.text(428, y + 92, "convolutions that", size=15)
    drawing.text(428, y + 112, "double the size", size=15)
    drawing.arrow([(end, y), (end + 34, y)])
    drawing.picture(end + 40, y - 48, soft(face(FACE, "photo")), frame=PHOTO)
    drawing.text(end + 88, y + 74, "*x̂*")
    formulas = (
        "*z*_c  =  *μ*_c + *ε* *σ*_c",
        "*z*_d  =  *μ*_d + *ε* *σ*_d",
        "*x̂*  =  *g* (*z*_c ∥ *z*_d)",
    )
    for number, words in enumerate(formulas):
        drawing.text(764, y - 32 + 38 * number, words, size=18, anchor="start")


def draw_perceptual() -> Drawing:
    """Fig. 3: how the perceptual loss is computed."""
    drawing = Drawing(446, "The perceptual loss")
    top, bottom = 130, 340
    middle = (top + bottom) / 2
    drawing.add(
        f'<rect x="176" y="46" width="552" height="378" rx="12" fill="{TINTS[FROZEN]}" '
        f'fill-opacity="0.6" stroke="{FROZEN}" stroke-width="2" stroke-dasharray="6 5"/>'
    )
    drawing.text(452, 34, "perceptual network *P*: VGG-16, frozen, the same for both", fill=FROZEN)
    rows = (
        (top, "image *x*", face(FACE, "photo")),
        (bottom, "*x̂*", soft(face(FACE, "photo"))),
    )
    for y, name, image in rows:
        drawing.picture(36, y - 48, image, frame=PHOTO)
        drawing.text(84, y + 74, name)
        drawing.arrow([(138, y), (224, y)])
        for number, (side, depth) in enumerate(((84, 14), (60, 24), (42, 34))):
            x = 230 + 172 * number
            drawing.slab(x, y + side * 0.14, side, depth)
            if number < 2:
                drawing.arrow([(x + depth + side * 0.28 + 5, y), (x + 166, y)])
    for number, layer in enumerate(("relu1_2", "relu2_2", "relu3_3")):
        x, side = 248 + 172 * number, (84, 60, 42)[number]
        drawing.text(x, 70, layer, size=14, fill=FAINT, plain=True)
        drawing.arrow([(x, top + side * 0.64 + 6), (x, middle - 24)])
        drawing.arrow([(x, bottom - side * 0.64 - 5), (x, middle + 24)])
        words = f"*w*_{number + 1} · mean *Δ*^2"
        drawing.box(x - 64, middle - 20, 128, 40, [words], fill="#ffffff", colour=FROZEN)
        if number < 2:
            drawing.text(x + 86, middle + 7, "+", size=24)
    drawing.text(704, middle + 7, "=", size=24)
    drawing.box(752, middle - 34, 176, 68, ["*L*_r", "perceptual loss"], colour=FROZEN)
    drawing.text(840, middle + 66, "*Δ*  =  *P*(*x*)^i − *P*(*x̂*)^i", size=17)
    return drawing


def draw_translation() -> Drawing:
    """How an image is translated: the codes of two images change hands."""
    drawing = Drawing(404, "Translation")
    top, bottom, middle = 108, 288, 198
    rows = (
        (top, "the source", "photo", FACE, PHOTO),
        (bottom, "a reference", "anime", OTHER, ANIME),
    )
    for y, name, domain, row, frame in rows:
        drawing.picture(32, y - 48, face(row, domain), frame=frame)
        drawing.text(80, y - 62, name)
        drawing.arrow([(134, y), (166, y)])
        drawing.funnel(170, 100, 68, 40, y)
        drawing.text(220, y - 3, "encoder", bold=True)
        drawing.text(220, y + 20, "*f*")
    drawing.text(80, bottom + 72, "or the mean code", size=14, fill=FAINT)
    drawing.text(80, bottom + 90, "of its domain", size=14, fill=FAINT)
    for y, index, kept in (
        (top - 32, "c", True), (top + 32, "d", False),
        (bottom - 32, "c", False), (bottom + 32, "d", True),
    ):  # fmt: skip
        colour = CONTENT if index == "c" else DOMAIN
        name = "content" if index == "c" else "domain"
        row_y = top if y < middle else bottom
        bend = row_y + (-14 if y < row_y else 14)
        drawing.add("<g>" if kept else '<g opacity="0.32">')
        drawing.arrow([(270, bend), (290, bend), (290, y), (316, y)], colour=colour)
        drawing.box(320, y - 22, 160, 44, [f"{name} code  *μ*_{index}"], colour=colour)
        drawing.add("</g>")
        if not kept:
            drawing.text(494, y + 5, "left aside", size=14, fill=FAINT, anchor="start")
    drawing.line([(480, top - 32), (588, top - 32), (588, middle - 17)], colour=CONTENT)
    drawing.line([(480, bottom + 32), (588, bottom + 32), (588, middle + 17)], colour=DOMAIN)
    drawing.node(588, middle, "∥")
    drawing.arrow([(605, middle), (642, middle)])
    drawing.funnel(646, 110, 44, 76, middle)
    drawing.text(701, middle - 3, "decoder", bold=True)
    drawing.text(701, middle + 20, "*g*")
    drawing.arrow([(756, middle), (790, middle)])
    drawing.picture(796, middle - 60, face(FACE, "anime"), frame=ANIME, side=120)
    drawing.text(856, middle - 76, "the translation")
    drawing.text(856, middle + 86, "content of the source,", size=14, fill=CONTENT)
    drawing.text(856, middle + 106, "domain of the reference", size=14, fill=DOMAIN)
    return drawing


def main() -> None:
    """Draw all of them."""
    draw_architecture(two=False).save("one-discriminator")
    draw_architecture(two=True).save("two-discriminators")
    draw_networks().save("networks")
    draw_perceptual().save("perceptual")
    draw_translation().save("translation")


if __name__ == "__main__":
    main()
