"""Errors a user can act on, and the exit codes that every command promises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What a finished process tells its caller."""

    DONE = 0
    SOME_FAILED = 1  # done, but some inputs failed and are listed
    USER = 2  # the user must change something
    LOST = 3  # a rank was lost: the same command goes on from the newest checkpoint
    STOPPED = 75  # stopped by a signal; the same command resumes (EX_TEMPFAIL)


class SraeError(Exception):
    """Base of all errors raised on purpose by this package."""

    exit_code: ExitCode = ExitCode.USER


class UserError(SraeError):
    """A mistake the user can mend.

    The message is one sentence: what is wrong, where (file, key, shard), and what to do.
    It is printed without a traceback and the process ends with exit code 2.
    """


class LostRankError(SraeError):
    """Another rank is gone or has failed; without a message where another rank gives it."""

    exit_code = ExitCode.LOST


class SampleError(SraeError):
    """One image or record that cannot be read; carries a short reason, not a whole sentence."""

    exit_code = ExitCode.SOME_FAILED


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name nearest to ``name``, or ``""``."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
