"""``exit.json``: how a run ended, since launchers turn every exit code into 1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from srae_dist.core import atomic
from srae_dist.core.errors import LostRankError, SraeError
from srae_dist.core.urls import redacted

NAME = "exit.json"


def write(folder: Path, code: int, reason: str, step: int | None) -> None:
    """Write a run's exit code, its reason and the step reached."""
    atomic.write_json(folder / NAME, {"code": int(code), "reason": redacted(reason), "step": step})


@contextlib.contextmanager
def recording_errors(folder: Path, *, enabled: bool) -> Iterator[None]:
    """Write an error that leaves this context to the folder, if that exists.

    Args:
        enabled: this rank writes; of a lost rank writes whichever rank has the message.
    """
    try:
        yield
    except SraeError as error:
        speaks = bool(str(error)) if isinstance(error, LostRankError) else enabled
        if speaks and folder.is_dir():
            write(folder, error.exit_code, str(error), None)
        raise
