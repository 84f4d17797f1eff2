"""A resumed run's log reads like an uninterrupted one's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from srae_dist.runtime.runlog import RunLog

DEEP = b"[" * 100_000  # more than a parser's stack


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    made = RunLog(tmp_path / "log.jsonl")
    for step in (1, 2, 3):
        made.write(step, {"loss": step / 3, "keys": ["é\u2028"]})
    return made


def test_a_line_is_an_object(log: RunLog) -> None:
    lines = log.path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert json.loads(lines[2]) == {"step": 3, "loss": 1.0, "keys": ["é\u2028"]}


@pytest.mark.parametrize(("step", "left"), [(0, 0), (1, 1), (2, 2), (3, 3), (99, 3)])
def test_later_lines_go_and_earlier_ones_keep_their_bytes(
    log: RunLog, step: int, left: int
) -> None:
    before = log.path.read_bytes().splitlines(keepends=True)
    log.cut(step)
    assert log.path.read_bytes() == b"".join(before[:left])


@pytest.mark.parametrize(
    "torn",
    [
        b'{"step": 3, "lo',
        b"{",
        b"\0\0\0",
        b'{"step": 1\xff',
        b"[1]",
        b"{}",
        b'{"step": null}',
        pytest.param(DEEP, id="deep"),
    ],
)
def test_a_torn_last_line_goes(log: RunLog, torn: bytes) -> None:
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + torn)
    log.cut(3)
    assert log.path.read_bytes() == whole
    log.write(4, {})
    assert log.path.read_bytes() == whole + b'{"step": 4}\n'


def test_a_line_that_lost_only_its_end_of_line_is_kept(log: RunLog) -> None:
    whole = log.path.read_bytes()
    log.path.write_bytes(whole.rstrip(b"\n"))
    log.cut(3)
    assert log.path.read_bytes() == whole


def test_no_log_is_no_trouble(tmp_path: Path) -> None:
    RunLog(tmp_path / "log.jsonl").cut(3)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finite_is_null_to_strict_parsers(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.jsonl")
    log.write(1, {"a": float("nan"), "b": float("-inf"), "c": 2.0, "skipped": "why"})
    line = json.loads(log.path.read_text(), parse_constant=pytest.fail)
    assert line == {"step": 1, "a": None, "b": None, "c": 2.0, "skipped": "why"}
