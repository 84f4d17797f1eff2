"""Runs a command line in this process, through the entry that the console script has."""

from __future__ import annotations

import contextlib
import io
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from srae_dist.cli import app
from srae_dist.core import machine
from srae_dist.runtime import launch
from srae_dist.runtime.command import run
from tests.bad_use.table import Case


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    said: str  # what came to stderr
    seconds: float


def call(command: str, patch: pytest.MonkeyPatch) -> Done:
    """Run ``srae-dist ...``; an exception that comes through is a traceback, and comes through."""
    from accelerate.state import AcceleratorState

    program, *arguments = shlex.split(command)
    assert program == "srae-dist"
    AcceleratorState._reset_state(reset_partial_state=True)  # a process trains once; tests often
    for module in (machine, launch):
        patch.setattr(module, "available_cores", lambda: 1)
    out, err, begun = io.StringIO(), io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run(app, arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue(), time.monotonic() - begun)


def play(case: Case, sound: Path, root: Path, patch: pytest.MonkeyPatch) -> Done:
    """Run a case in a copy of the sound folder."""
    shutil.copytree(sound, root)
    patch.chdir(root)
    held = case.before(root, patch) if case.before else None
    done = call(case.command, patch)
    del held
    return done
