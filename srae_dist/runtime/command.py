"""From a command to its process: errors become one sentence and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

from srae_dist.core import disk
from srae_dist.core.errors import ExitCode, SraeError
from srae_dist.runtime import console
from srae_dist.runtime.signals import ending_as_ctrl_c

_INTERRUPTED = 130  # what typer makes of Ctrl-C
_NAMES = (
    *("EACCES", "EDQUOT", "EEXIST", "EFBIG", "EIO", "EISDIR", "ELOOP", "EMFILE", "ENAMETOOLONG"),
    *("ENFILE", "ENOENT", "ENOMEM", "ENOSPC", "ENOTDIR", "ENOTEMPTY", "EPERM", "EROFS"),
)
_MACHINE = {getattr(errno, name) for name in _NAMES if hasattr(errno, name)}  # what users can mend


def run(app: typer.Typer, args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with the exit code the command promised.

    A command returns its exit code, None being 0. A ``SraeError`` is printed as ``error: ...``, if
    it has a message, and gives its own code; wrong usage gives 2, and so does what the machine
    refuses (a full disk, a file that may not be opened); Ctrl-C gives 75, and so do SIGTERM and
    SIGUSR1 unless the command handles them; anything else keeps its traceback.
    """
    sys.exit(_code(app, args))


def _code(app: typer.Typer, args: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        with ending_as_ctrl_c(), disk.full_told(Path.cwd()):
            value = command.main(args=None if args is None else list(args), standalone_mode=False)
    except SraeError as error:
        if str(error):
            console.error(str(error))
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        value = _INTERRUPTED
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        console.error(_of_machine(error))
        return int(ExitCode.USER)
    except Exception as error:
        if not isinstance(error, _usage_error()):
            raise
        _show_usage(error)
        return int(ExitCode.USER)
    if value == _INTERRUPTED:
        console.err.print("stopped.")
        return int(ExitCode.STOPPED)
    return value if isinstance(value, int) else int(ExitCode.DONE)


def _of_machine(error: OSError) -> str:
    """Say what the machine refused, and of which file."""
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    return f"{where}{error.strerror}; mend that, and run the same command again."


def _show_usage(error: Any) -> None:
    """Say in one sentence what is wrong with a command line; where there is none, show the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    text = str(error.format_message()).replace(": Value error, ", ": ")
    text = " ".join(text.split()).removesuffix(".")
    console.error(f"{text} See --help." if text.endswith("?") else f"{text}; see --help.")


def _usage_error() -> type[Any]:
    """Return click's UsageError: some versions of typer bring a click of their own."""
    return typer.BadParameter.__mro__[1]
