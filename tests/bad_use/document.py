"""Prints the table with the sentences as they are: ``python -m tests.bad_use.document``.

Runs every wrong invocation and writes docs/bad-use.md. All paths are relative to the folder that
they run in, so the document says nothing of the machine.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_use import world
from tests.bad_use.play import play
from tests.bad_use.table import CASES, Case

DOCUMENT = Path(__file__).parents[2] / "docs" / "bad-use.md"

OPENING = f"""# What you are told when something is wrong

Every mistake ends with exit code 2 and one sentence on stderr: what is wrong, where, and how to
mend it; a traceback is a defect, so please report it. Below are {len(CASES)} wrong invocations, and
what each is answered. They run in a folder with a recipe (`tiny.toml`), shards (`shards/faces`), a
trained run (`runs/tiny`) and pictures; what was spoilt in it first, the first column says.

This page is made by `python -m tests.bad_use.document`. Its rows are the parameters of
`tests/bad_use/test_bad_use.py`, which holds each to its exit code, to one sentence, to what the
sentence must name, and to a time limit.
"""


def row(case: Case) -> str:
    """The beginning of a case's row: what is wrong, and the command."""
    return f"| {_cell(case.wrong)} | `{_cell(case.command)}` |"


def render(root: Path) -> Iterator[str]:
    """Yield the lines of the document; runs everything below ``root``."""
    yield OPENING
    with pytest.MonkeyPatch.context() as patch:
        (root / "sound").mkdir()
        sound = world.build(root / "sound", patch)
    for number, case in enumerate(CASES):
        if number == 0 or CASES[number - 1].group != case.group:
            yield f"\n## {case.group}\n\n| what is wrong | command | what is said |"
            yield "| --- | --- | --- |"
        with pytest.MonkeyPatch.context() as patch:
            done = play(case, sound, root / str(number), patch)
        said = done.said[done.said.index("error: ") + len("error: ") :].strip()
        said = re.sub(r"[\d,]+ MiB free", "0 MiB free", said)  # the full disk is a pretence
        yield f"{row(case)} {_cell(said)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        lines = list(render(Path(folder).resolve()))
        os.chdir(DOCUMENT.parent)
    if any(str(Path.home()) in line or folder in line for line in lines):
        sys.exit("the document would name a place of this machine")
    DOCUMENT.write_text("\n".join(lines) + "\n", encoding="utf-8")
