"""What a measure has found: numbers for machines, tables and pictures for people."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

_STRANGE = re.compile(r"[^A-Za-z0-9_.-]")  # in the name of a picture's file
_LONGEST = 100  # characters of that name


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under column heads, ready to be shown anywhere."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and the sentence below it."""

    name: str  # of its file, without suffix: "translations"
    caption: str
    image: Image.Image


@dataclass(frozen=True, slots=True)
class Section:
    """One measure's part of a report."""

    name: str  # key in report.json: "leakage"
    title: str  # "Leakage: what a fresh probe reads from a code"
    text: str  # a paragraph: what was done on which images, and how to read it
    values: Mapping[str, Any]  # plain JSON values, of a stable shape
    tables: Sequence[Table] = field(default=())
    pictures: Sequence[Picture] = field(default=())


def files_of(pictures: Iterable[Picture]) -> dict[str, Picture]:
    """Return pictures by the names of their files.

    Names may hold what strangers' shards hold (labels): no file leaves its folder, and none is
    named as another.
    """
    found: dict[str, Picture] = {}
    for picture in pictures:
        stem = _STRANGE.sub("_", picture.name)[:_LONGEST].lstrip(".") or "_"
        names = (f"{stem}{f'-{n}' if n else ''}.png" for n in itertools.count())
        found[next(name for name in names if name not in found)] = picture
    return found
