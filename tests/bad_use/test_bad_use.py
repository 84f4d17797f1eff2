"""Every wrong invocation ends with exit code 2 and one sentence: what, where and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_use import world
from tests.bad_use.document import DOCUMENT, row
from tests.bad_use.play import play
from tests.bad_use.table import CASES, Case

LONGEST = 420  # characters of a sentence
SLOWEST = 10.0  # seconds, on a busy machine, too


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        yield world.build(tmp_path_factory.mktemp("sound"), patch)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_mistake_is_told(
    case: Case, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = play(case, sound, tmp_path / "here", monkeypatch)
    assert done.code == 2, done
    said = done.said.splitlines()
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 1, done.said
    missing = [part for part in case.says if part not in done.said]
    assert not missing, f"{missing} not in: {done.said}"
    assert len(done.said) <= LONGEST, done.said
    assert done.seconds < SLOWEST


def test_the_document_has_every_row_and_no_other() -> None:
    rows = [
        line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if " `srae-dist" in line
    ]
    stale = "run `python -m tests.bad_use.document`"
    assert len(rows) == len(CASES), stale
    for line, case in zip(rows, CASES, strict=True):
        assert line.startswith(row(case)), stale


def test_there_are_cases_of_every_command() -> None:
    commands = {" ".join(case.command.split()[1:2]) for case in CASES}
    wanted = {"recipe", "train", "shard", "batch-translate", "evaluate", "embed", "classify"}
    assert commands >= wanted | {"neighbours", "export", "bench"}
    assert len(set(map(str, CASES))) == len(CASES) >= 60
