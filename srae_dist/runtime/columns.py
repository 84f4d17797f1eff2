"""Widths of columns where the terminal is narrow: words stay whole while there is room."""

from __future__ import annotations

from collections.abc import Sequence


def narrowed(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return a width for every column, ``room`` together at most.

    Each begins at its longest word. What is left goes to the column that has the most lines to
    fold; what is missing is taken from the widest.

    Args:
        columns: the texts of each, its heading too.
        room: characters for all, at least one a column.
    """
    whole = [max(map(len, texts)) for texts in columns]
    widths = [
        max(len(word) for text in texts for word in text.split() or [" "]) for texts in columns
    ]
    while sum(widths) > max(room, len(widths)):
        widths[widths.index(max(widths))] -= 1
    while sum(widths) < min(room, sum(whole)):
        need = [full / width for full, width in zip(whole, widths, strict=True)]
        widths[need.index(max(need))] += 1
    return widths
