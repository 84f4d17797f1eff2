"""Every wrong invocation ends with exit code 2 and one sentence: what, where and how to mend it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_use import world
from tests.bad_use.play import Done, call
from tests.bad_use.table import CASES, Case

LONGEST = 420  # characters of a sentence
SLOWEST = 10.0  # seconds, on a busy machine, too


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        yield world.build(tmp_path_factory.mktemp("sound"), patch)


def play(case: Case, sound: Path, root: Path, patch: pytest.MonkeyPatch) -> Done:
    """Run a case in a copy of the sound folder."""
    shutil.copytree(sound, root)
    patch.chdir(root)
    held = case.before(root, patch) if case.before else None
    done = call(case.command, patch)
    del held
    return done


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_mistake_is_told(
    case: Case, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = play(case, sound, tmp_path / "here", monkeypatch)
    print(f"#{case}\n$ {case.command}\n{done.code} {done.seconds:.2f}s {done.said}")
    assert done.code == 2, done
    said = done.said.splitlines()
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 1, done.said
    missing = [part for part in case.says if part not in done.said]
    assert not missing, f"{missing} not in: {done.said}"
    assert len(done.said) <= LONGEST, done.said
    assert done.seconds < SLOWEST
