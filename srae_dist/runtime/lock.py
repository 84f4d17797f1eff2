"""One run per folder: a lock that the operating system releases when its process dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from srae_dist.core import disk
from srae_dist.core.errors import UserError


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create ``folder`` if need be and hold its lock.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    if folder.is_file():
        raise UserError(f"{folder} cannot be written: it is a file; name a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder} is in use by another process; wait for it, stop it, or use another folder."
        ) from None
    except OSError as error:
        raise UserError(disk.refusal(error, folder)) from None
    try:
        yield
    finally:
        lock.release()
