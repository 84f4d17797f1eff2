"""A report as one page: pictures and style inside it, no script, nothing fetched from anywhere.

Domain names, keys and labels come from strangers' shards, so every text is escaped, and the page's
own policy forbids scripts and requests.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from PIL import Image

from srae_dist.evaluation.report import NotMeasured, Report, printable
from srae_dist.evaluation.section import Picture, Section, Table

WIDEST = 2400  # pixels of a picture inside the page; the file beside it keeps them all
_WIDE = 1000  # pixels; wider ones stand alone, and scroll on a phone instead of shrinking
_LONG = 24  # rows; a table of more is folded until it is asked for
_NAME = 20  # characters of a row's name that a phone can keep in sight beside its numbers
_PROSE = 24  # characters of a cell; more are given the room of a sentence
_HEAVY = 150_000  # bytes; a larger PNG becomes a JPEG, if that helps
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_ONE = (
    r"[<>≤≥≈~]?\s*[-+−]?(\d[\d,  ]*)?\.?\d+(e[-+]?\d+)?\s*(%|dB|s|ms)?"
    r"(\s*±\s*\d[\d,.]*(e[-+]?\d+)?\s*(%|dB)?)?(\s*\(.*\))?"
)
_NUMBER = re.compile(rf"{_ONE}(; {_ONE})*")
_CODE, _AS_CODE = re.compile(r"`([^`]+)`"), r"<code>\1</code>"  # a command in a sentence
_NOTHING = {"", "-", "–", "—", "n/a", "none"}
_MISSING, _MADE = "not-measured", "how-it-was-made"


def render(report: Report) -> str:
    """Return the whole page."""
    style = files("srae_dist.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    entries = [(section.name, section.title) for section in report.sections]
    entries += [(_MISSING, "Not measured")] if report.not_measured else []
    entries += [(_MADE, "How this was made")]
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(report.title)} · evaluation</title>",
        f"<style>\n{style}</style>",
        "</head>",
        '<body><div class="page">',
        _header(report),
        _contents(entries),
        "<main>",
        *map(_section, report.sections),
        _not_measured(report.not_measured),
        _made(report),
        "</main>",
        "</div></body>",
        "</html>",
    ]
    return printable("\n".join(part for part in parts if part) + "\n")


def _header(report: Report) -> str:
    cards = "".join(
        f"<div><dt>{escape(line.label)}</dt>"
        f'<dd class="value">{escape(line.value)}</dd>'
        + (f'<dd class="note">{escape(line.note)}</dd>' if line.note else "")
        + "</div>"
        for line in report.headlines
    )
    return (
        '<header><p class="eyebrow">Evaluation</p>'
        f"<h1>{escape(report.title)}</h1>"
        f'<p class="lede">{escape(report.summary)}</p></header>'
        + (f'\n<dl class="headlines">{cards}</dl>' if cards else "")
    )


def _contents(entries: Sequence[tuple[str, str]]) -> str:
    links = "".join(
        f'<li><a href="#{escape(name)}">{escape(title)}</a></li>' for name, title in entries
    )
    return f'<nav aria-label="Contents"><h2>Contents</h2><ol>{links}</ol></nav>'


def _section(section: Section) -> str:
    paragraphs = (part.strip() for part in section.text.split("\n\n"))
    return "\n".join(
        [
            f'<section id="{escape(section.name)}">',
            f"<h2>{escape(section.title)}</h2>",
            *(f"<p>{escape(text)}</p>" for text in paragraphs if text),
            *map(_table, section.tables),
            '<div class="pictures">' if section.pictures else "",
            *map(_picture, section.pictures),
            "</div>" if section.pictures else "",
            "</section>",
        ]
    )


def _table(table: Table) -> str:
    numeric = [
        _is_numeric([row[place] for row in table.rows]) for place in range(len(table.columns))
    ]
    head = "".join(
        f'<th scope="col"{_class(number)}>{escape(column)}</th>'
        for column, number in zip(table.columns, numeric, strict=True)
    )
    rows = "\n".join(f"<tr>{_cells(row, numeric)}</tr>" for row in table.rows)
    short = all(len(row[0]) <= _NAME for row in table.rows)
    named = ' class="named"' if short else ""
    box = (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.title)}">'
        f"<table{named}><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>"
    )
    if len(table.rows) > _LONG:  # many domains make many pairs
        title = f"{escape(table.title)} ({len(table.rows):,} rows)"
        return f"<figure><details><summary>{title}</summary>{box}</details></figure>"
    title = f'<figcaption class="title">{escape(table.title)}</figcaption>' if table.title else ""
    return f"<figure>{title}{box}</figure>"


def _cells(row: Sequence[str], numeric: Sequence[bool]) -> str:
    first, *others = (
        (escape(text), _class(number) or ' class="prose"' * (len(text) > _PROSE))
        for text, number in zip(row, numeric, strict=True)
    )
    return f'<th scope="row"{first[1]}>{first[0]}</th>' + "".join(
        f"<td{style}>{text}</td>" for text, style in others
    )


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _is_numeric(cells: Sequence[str]) -> bool:
    """Whether a column holds numbers, which are set to the right; gaps in it are none."""
    told = [cell.strip() for cell in cells if cell.strip() not in _NOTHING]
    return bool(told) and all(_NUMBER.fullmatch(cell) for cell in told)


def _picture(picture: Picture) -> str:
    kind, data, (width, height) = _inline(picture.image)
    wide = ' class="wide"' if width > _WIDE else ""
    return (
        f'<figure{wide}><div class="picture"><div class="scroll"><img '
        f'width="{width}" height="{height}" alt="{escape(picture.caption)}" '
        f'src="data:image/{kind};base64,{base64.b64encode(data).decode("ascii")}"></div></div>'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _inline(image: Image.Image) -> tuple[str, bytes, tuple[int, int]]:
    """Return a picture's kind, bytes and size: PNG, or JPEG where that is much smaller."""
    if image.width > WIDEST:
        height = max(1, round(image.height * WIDEST / image.width))
        image = image.convert("RGB").resize((WIDEST, height), Image.Resampling.LANCZOS)
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    if png.tell() > _HEAVY:
        jpeg = io.BytesIO()
        image.convert("RGB").save(jpeg, "JPEG", quality=90, subsampling=0, optimize=True)
        if jpeg.tell() * 2 < png.tell():
            return "jpeg", jpeg.getvalue(), image.size
    return "png", png.getvalue(), image.size


def _not_measured(missing: Sequence[NotMeasured]) -> str:
    if not missing:
        return ""
    lines = "".join(
        f"<li><b>{escape(one.title)}</b> {_CODE.sub(_AS_CODE, escape(one.reason))}</li>"
        for one in missing
    )
    return (
        f'<section id="{_MISSING}"><h2>Not measured</h2><ul class="missing">{lines}</ul></section>'
    )


def _made(report: Report) -> str:
    return (
        f'<section id="{_MADE}"><h2>How this was made</h2>'
        f"{_facts(report.made)}{''.join(map(_table, report.made_tables))}"
        "<footer>All numbers of this page, unrounded, are in report.json beside it; "
        "its pictures are in figures/.</footer></section>"
    )


def _facts(values: Mapping[str, str]) -> str:
    lines = "".join(
        f"<dt>{escape(name)}</dt><dd>{_fact(name, value)}</dd>" for name, value in values.items()
    )
    return f'<dl class="facts">{lines}</dl>'


def _fact(name: str, value: str) -> str:
    return f"<code>{escape(value)}</code>" if name == "Command" else escape(value)
