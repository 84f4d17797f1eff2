"""Tables on a narrow terminal: words stay whole while there is room for them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from srae_dist.runtime import console
from srae_dist.runtime.columns import narrowed

TEXTS = st.lists(st.lists(st.text("ab ", max_size=30), min_size=1, max_size=4), min_size=1)


def test_words_stay_whole_and_the_rest_goes_to_the_longest_text() -> None:
    texts = [
        ["key", "data.root"],
        ["meaning", "what a key means, in a sentence or two"],
        ["n", "1"],
    ]
    assert narrowed(texts, 30) == [9, 20, 1]
    assert narrowed(texts, 100) == [9, 38, 1]
    assert narrowed([["abcdefgh"], ["ab"]], 6) == [4, 2]  # there is no room for the word


@given(TEXTS, st.integers(0, 200))
def test_widths_are_above_nothing_and_fit(texts: list[list[str]], room: int) -> None:
    widths = narrowed(texts, room)
    assert min(widths) >= 1
    assert sum(widths) <= max(room, len(texts))


def test_a_table_of_check_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    from srae_dist.data.check.report import COLUMNS

    file = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=file, width=80))
    sizes = "5..96..300 x 5..96..140"
    row = ("train", "human", 12345, 0, 3, 17, 3.1, "64 x 64", sizes)
    console.table(COLUMNS, [row])
    said = file.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    for word in (*COLUMNS, "train", "human", "12,345", "5..96..300", "5..96..140"):
        assert word in said.replace("\n", " ").split(), said
