"""``exit.json``: how a run ended, since launchers turn every exit code into 1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from srae_dist.core import atomic, disk
from srae_dist.core.errors import LostRankError, SraeError, UserError
from srae_dist.core.urls import redacted

NAME = "exit.json"


def write(folder: Path, code: int, reason: str, step: int | None) -> None:
    """Write a run's exit code, its reason and the step reached.

    Raises:
        UserError: the disk refuses it.
    """
    with disk.told(folder / NAME):
        atomic.write_json(
            folder / NAME, {"code": int(code), "reason": redacted(reason), "step": step}
        )


@contextlib.contextmanager
def recording_errors(folder: Path, *, enabled: bool) -> Iterator[None]:
    """Write an error that leaves this context to the folder, if that exists and there is room.

    Args:
        enabled: this rank writes; of a lost rank writes whichever rank has the message.

    Raises:
        UserError: a disk was full, whoever wanted to write.
    """
    try:
        with disk.full_told(folder):
            yield
    except SraeError as error:
        speaks = bool(str(error)) if isinstance(error, LostRankError) else enabled
        if speaks and folder.is_dir():
            with contextlib.suppress(UserError):  # what ended the run is to be told
                write(folder, error.exit_code, str(error), None)
        raise
