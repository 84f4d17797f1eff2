"""Nothing from disk is unpickled: the whole path, booby-trapped, among planted pickles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.hostile.whole_path import MARKER, PATH

ROOT = Path(__file__).parents[2]
SPRUNG_ON_PURPOSE = 4  # by whole_path.springs, at the end


def test_nothing_from_disk_is_unpickled(tmp_path: Path) -> None:
    traps, log = Path(__file__).parent / "traps", tmp_path / "trapped.log"
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.whole_path", str(work)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{traps}{os.pathsep}{ROOT}", "TRAPPED": str(log)},
        capture_output=True,
        text=True,
    )
    lines = log.read_text(encoding="utf-8").splitlines()
    sprung = [line for line in lines if line.startswith("TRAP")]
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n" + "\n".join(sprung)
    assert len(sprung) == SPRUNG_ON_PURPOSE, "\n".join(sprung)
    assert all("whole_path.py" in line for line in sprung)
    assert lines.count("message") > 0, "processes sent each other messages, which may be unpickled"
    assert not (work / MARKER).exists() and len(PATH) > 15
