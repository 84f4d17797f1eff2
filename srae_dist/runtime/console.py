"""The only module that prints: text, tables and progress, rich on a terminal and plain in a file.

Text goes to stdout; progress, warnings and errors go to stderr. Nothing is read as markup, so a
file named ``[red].jpg`` is shown as it is.
"""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from rich.console import Console

from srae_dist.core.urls import redacted
from srae_dist.runtime.columns import narrowed

Advance = Callable[[int], None]

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline

_FILE_WIDTH = 200  # columns of a table that goes to a file, where nobody asks for 80
_SPARSE = 10.0  # seconds between progress lines when not a terminal


def _console(*, stderr: bool) -> Console:
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = _FILE_WIDTH
    return made


out = _console(stderr=False)
err = _console(stderr=True)


def info(text: str) -> None:
    """Print a line to stdout."""
    out.print(_printable(text), soft_wrap=True)


def warn(text: str) -> None:
    """Print a remark that deserves attention to stderr."""
    err.print(f"note: {_printable(text)}", style="yellow", soft_wrap=True)


def error(text: str) -> None:
    """Print what went wrong to stderr."""
    err.print(f"error: {_printable(text)}", style="red", soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table to stdout, numbers to the right, whole ones grouped by thousands.

    Where it does not fit, columns are set closer, and texts folded between words.
    """
    from rich import box
    from rich.table import Table

    columns = [_printable(column) for column in columns]
    cells = [[_cell(value) for value in row] for row in rows]
    texts = [[column, *(row[place] for row in cells)] for place, column in enumerate(columns)]
    narrow = sum(max(map(len, some)) for some in texts) + 3 * len(columns) + 1 > out.width
    widths: list[int | None] = [None] * len(columns)
    if narrow:
        widths[:] = narrowed(texts, out.width - 2 * len(columns) - 1)
    padding = (0, 1, 0, 0) if narrow else (0, 1)
    title = _printable(title)
    made = Table(title=title or None, title_justify="left", box=box.SIMPLE, padding=padding)
    for place, column in enumerate(columns):
        numeric = any(isinstance(row[place], int | float) for row in rows)
        side: Literal["left", "right"] = "right" if numeric else "left"
        made.add_column(column, justify=side, overflow="fold", width=widths[place])
    for row in cells:
        made.add_row(*row)
    out.print(made)


def facts(title: str, values: Mapping[str, str]) -> None:
    """Print a title and, below it, a line for each named value, to stdout."""
    width = max(map(len, values), default=0)
    out.print(_printable(title), style="bold", soft_wrap=True)
    for name, value in values.items():
        info(f"  {name:<{width}}  {value}")


@contextlib.contextmanager
def progress(total: int, label: str) -> Iterator[Advance]:
    """Show how far a job of ``total`` items is; yields ``advance(count)``.

    On a terminal a bar with rate and time left; else a plain line every ten seconds and one at
    the end.
    """
    if err.is_terminal:
        with _bar(total, label) as advance:
            yield advance
    else:
        with _lines(total, label) as advance:
            yield advance


@contextlib.contextmanager
def _bar(total: int, label: str) -> Iterator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task(label, total=total)
        yield functools.partial(bar.advance, task)


@contextlib.contextmanager
def _lines(total: int, label: str) -> Iterator[Advance]:
    done, start = 0, time.monotonic()
    said = start

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        now = time.monotonic()
        if now - said >= _SPARSE:
            said = now
            say()

    def say() -> None:
        took = time.monotonic() - start
        rate = f", {done / took:,.0f}/s" if took >= 1.0 else ""  # of less it says nothing
        err.print(f"{label}: {done:,} of {total:,}{rate}", soft_wrap=True)

    yield advance
    say()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else _printable(str(value))


def _printable(text: str) -> str:
    """Return text that any stream can encode and that commands no terminal, whatever a file name
    holds, and without passwords."""
    text = redacted(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
