"""A finished evaluation, and what is written of it: numbers for machines, a page for people.

``report.json`` has a stable schema (docs/evaluating.md), ``report.html`` is one self-contained
file, and every picture lies beside them as ``figures/NAME.png``.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srae_dist.core import atomic
from srae_dist.core.json_file import read_json
from srae_dist.evaluation.section import Picture, Section, Table, files_of

FORMAT = "srae_dist.evaluation"
VERSION = 1
JSON, HTML, FIGURES = "report.json", "report.html", "figures"


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the few numbers that a reader wants first."""

    label: str  # what it is: "domain read from content codes"
    value: str  # ready to be shown: "98.2 %"
    note: str = ""  # what it should be: "chance is 50.0 %"


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """A measure that could not be taken, and why: nothing is silently missing."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that an evaluation found.

    ``facts`` say what was measured, by what, on what: JSON values, the first level of
    ``report.json``. Whatever depends on the clock is in ``time`` alone.
    """

    title: str
    summary: str  # one sentence below the title
    facts: Mapping[str, Any]
    sections: Sequence[Section]
    headlines: Sequence[Headline] = field(default=())
    not_measured: Sequence[NotMeasured] = field(default=())
    time: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)  # the facts, for people
    made_tables: Sequence[Table] = field(default=())

    @property
    def values(self) -> dict[str, Any]:
        """The content of ``report.json``."""
        return {
            "format": FORMAT,
            "version": VERSION,
            **self.facts,
            "headlines": [
                {"label": line.label, "value": line.value, "note": line.note}
                for line in self.headlines
            ],
            "sections": {section.name: section.values for section in self.sections},
            "not_measured": {one.name: one.reason for one in self.not_measured},
            "figures": [f"{FIGURES}/{file}" for file in self.figures],
            "time": self.time,
        }

    @property
    def figures(self) -> dict[str, Picture]:
        """The pictures of all sections by the names of their files."""
        return files_of(picture for section in self.sections for picture in section.pictures)


def write(report: Report, out: Path) -> Path:
    """Write pictures, page and numbers, ``report.json`` last; return the page's path.

    Pictures of an earlier report in the same folder that this one has not are deleted.

    Raises:
        OSError: the folder cannot be written to.
    """
    from srae_dist.evaluation.html import render

    page, values = render(report), to_json(report.values)  # whatever is wrong with them is so now
    earlier = _figures_of(out / JSON)
    for file, picture in report.figures.items():
        atomic.write_bytes(out / FIGURES / file, png(picture))
    atomic.write_text(out / HTML, page)
    atomic.write_text(out / JSON, values)
    for name in earlier - report.figures.keys():
        (out / FIGURES / name).unlink(missing_ok=True)
    return out / HTML


def to_json(value: Any) -> str:
    """Write valid JSON: numpy's numbers as plain ones, and null for what is no finite number."""
    return (
        json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        + "\n"
    )


def plain(value: Any) -> Any:
    """Return JSON values for what measures compute; NaN and infinities become None.

    Raises:
        TypeError: a value that JSON does not know.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {printable(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    raise TypeError(f"a report cannot hold {type(value).__name__}")


def printable(text: str) -> str:
    """Return text that UTF-8 can hold, whatever a file name has in it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def png(picture: Picture) -> bytes:
    """Return a picture as a PNG file."""
    file = io.BytesIO()
    picture.image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _figures_of(path: Path) -> set[str]:
    """Names of the files in figures/ that an earlier report says it wrote."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        listed = [Path(name) for name in read_json(path)["figures"]]
        return {name.name for name in listed if name == Path(FIGURES) / name.name}
    return set()
