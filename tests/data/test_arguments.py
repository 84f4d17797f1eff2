"""What is typed: values, or one sentence that names the option."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from srae_dist.core.errors import UserError
from srae_dist.data import arguments
from srae_dist.data.workplace import Part


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_parts(number: int, count: int) -> None:
    if number <= count:
        part = arguments.part(f"{number}/{count}", {})
        assert (part, str(part)) == (Part(number, count), f"{number}/{count}")
    else:
        with pytest.raises(UserError, match=r"--part .* is not I/N"):
            arguments.part(f"{number}/{count}", {})


@given(st.integers(1, 50), st.integers(0, 500))
def test_each_shard_is_one_parts(count: int, shard: int) -> None:
    owners = [number for number in range(1, count + 1) if Part(number, count).owns(shard)]
    assert owners == [shard % count + 1]


@given(st.text(max_size=8))
@example("0/2")
@example("1/0")
@example("1")
@example("1/2/3")
@example(" 1/2")
@example("\u0661/\u0662")
@example("-1/2")
def test_other_texts_are_no_parts(text: str) -> None:
    if re.fullmatch("[1-9][0-9]*/[1-9][0-9]*", text):
        return
    try:
        part = arguments.part(text, {})
    except UserError as error:
        assert str(error).startswith("--part '")
    else:
        assert re.fullmatch("0*[1-9][0-9]*/0*[1-9][0-9]*", text) and part.number <= part.count


def test_ranks_are_parts() -> None:
    launched = {"WORLD_SIZE": "4", "RANK": "2", "MASTER_PORT": "29500", "LOCAL_WORLD_SIZE": "4"}
    part = arguments.part(None, launched)
    assert (part.number, part.count, bool(part.launch)) == (3, 4, True)
    assert part.launch == arguments.part(None, {**launched, "RANK": "0"}).launch
    assert part.launch != arguments.part(None, {**launched, "MASTER_PORT": "1"}).launch
    assert arguments.part(None, {}) == arguments.part(None, {"WORLD_SIZE": "1"}) == Part()
    with pytest.raises(UserError, match=r"--part 1/2 .* started 4 processes"):
        arguments.part("1/2", launched)
    with pytest.raises(UserError, match="WORLD_SIZE is 'four'"):
        arguments.part(None, {"WORLD_SIZE": "four"})


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "available_cores", lambda: 6)
    launched = {"LOCAL_WORLD_SIZE": "4"}
    assert arguments.process_count(None, {}, images=1_000_000) == 6
    assert arguments.process_count(None, {}, images=3500) == 3  # few images need few
    assert arguments.process_count(None, {}, images=0) == 1
    assert arguments.process_count(None, launched, images=1_000_000) == 1
    assert arguments.process_count(3, launched, images=1) == 3


@given(st.text(alphabet="()[]?P<ad>|*+{9},\\^$.:", max_size=12))
def test_label_patterns(text: str) -> None:
    try:
        pattern = arguments.pattern(text)
    except UserError as error:
        assert str(error).startswith("--label-regex '")
    else:
        assert pattern is not None and pattern.groups >= 1


@pytest.mark.filterwarnings("error")
def test_what_python_may_read_otherwise_one_day_is_no_news_to_a_user() -> None:
    assert arguments.pattern("([[a]+)") is not None


@given(st.lists(st.text(alphabet="ab=0123", max_size=8), max_size=3))
def test_limits(texts: list[str]) -> None:
    try:
        limits = arguments.limits(texts)
    except UserError as error:
        assert "is not NAME=N" in str(error)
    else:
        assert sorted(limits) == sorted(text.partition("=")[0] for text in texts)
