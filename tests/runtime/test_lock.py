"""One holder per folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from srae_dist.core.errors import UserError
from srae_dist.runtime.lock import locked


def test_a_second_holder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with locked(folder):
        for _ in range(2):
            with pytest.raises(UserError, match="is in use by another process") as refused:
                locked(folder).__enter__()
            assert str(folder) in str(refused.value)
            assert str(refused.value).count(".") >= 1
        with locked(tmp_path / "other"):
            pass
    with locked(folder):
        pass


def test_another_process_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom srae_dist.runtime.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): pass"
    )

    def other() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path)]
        root = Path(__file__).parents[2]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)

    with locked(tmp_path):
        assert "in use by another process" in other().stderr
    assert other().returncode == 0


def test_an_exception_releases(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        locked(tmp_path / "file" / below).__enter__()
