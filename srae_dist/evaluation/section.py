"""What a measure has found: numbers for machines, tables and pictures for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image


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
