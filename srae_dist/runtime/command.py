"""From a command to its process: errors become one sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

from srae_dist.core import disk
from srae_dist.core.errors import ExitCode, SraeError
from srae_dist.runtime import console

_INTERRUPTED = 130  # what typer makes of Ctrl-C


def run(app: typer.Typer, args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with the exit code the command promised.

    A command returns its exit code, None being 0. A ``SraeError`` is printed as ``error: ...`` and
    gives its own code; wrong usage or a full disk gives 2; Ctrl-C gives 75; anything else keeps its
    traceback.
    """
    sys.exit(_code(app, args))


def _code(app: typer.Typer, args: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        with disk.full_told(Path.cwd()):
            value = command.main(args=None if args is None else list(args), standalone_mode=False)
    except SraeError as error:
        console.error(str(error))
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        value = _INTERRUPTED
    except Exception as error:
        if not isinstance(error, _usage_error()):
            raise
        error.show()
        return int(ExitCode.USER)
    if value == _INTERRUPTED:
        console.err.print("stopped.")
        return int(ExitCode.STOPPED)
    return value if isinstance(value, int) else int(ExitCode.DONE)


def _usage_error() -> type[Any]:
    """Return click's UsageError: some versions of typer bring a click of their own."""
    return typer.BadParameter.__mro__[1]
