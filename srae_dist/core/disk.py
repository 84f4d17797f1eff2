"""What a disk refuses, in a sentence; and whether something will fit before it is written."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from srae_dist.core.errors import UserError

AGAIN = "run the same command again"
SPARE = 1 << 20  # bytes that folders, JSON and logs may take besides

_FULL = {errno.ENOSPC: "the disk is full", errno.EFBIG: "a file may not become so large there"}
if hasattr(errno, "EDQUOT"):  # not on Windows
    _FULL[errno.EDQUOT] = "the disk quota is used up"
_LIBRARY = re.compile(r"os error (\d+)")  # safetensors' word for the system's


def number_of(error: BaseException) -> int | None:
    """Return the system's number of an error, also where a library tells it in its own words."""
    if isinstance(error, OSError):
        return error.errno
    found = _LIBRARY.search(str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else None


def is_full(error: BaseException) -> bool:
    """Tell whether an error says that there is no room."""
    return number_of(error) in _FULL


def reason(error: BaseException, place: Path) -> str:
    """Say why the disk refused something, and how much is free where it is full."""
    number = number_of(error)
    if number not in _FULL:
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
    left = free(place)
    return _FULL[number] + ("" if left is None else f" ({mebibytes(left)} free)")


def refusal(error: BaseException, place: Path) -> str:
    """Say what the disk refused, where, and what to do."""
    what = "make room there" if is_full(error) else "mend that"
    return f"{place} cannot be written: {reason(error, place)}; {what}, and {AGAIN}."


@contextlib.contextmanager
def told(place: Path) -> Iterator[None]:
    """Turn what the disk refuses in this context into one sentence.

    Raises:
        UserError: it refused something.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and number_of(error) is None:
            raise
        raise UserError(refusal(error, place)) from None


@contextlib.contextmanager
def full_told(place: Path) -> Iterator[None]:
    """Turn a full disk into one sentence, whoever wanted to write: trackers, the screen's file.

    Raises:
        UserError: it was full.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        named = error.filename if isinstance(error, OSError) else None
        raise UserError(refusal(error, Path(named) if named else place)) from None


def check_room(place: Path, size: int, *, what: str) -> None:
    """Refuse to begin to write what will not fit.

    Raises:
        UserError: ``size`` bytes and a little more are not free where ``place`` is.
    """
    left = free(place)
    if left is not None and left < size + SPARE:
        raise UserError(
            f"{place} has no room for {what}: it takes about {mebibytes(size + SPARE)}, "
            f"{mebibytes(left)} are free; make room there, and {AGAIN}."
        )


def free(place: Path) -> int | None:
    """Return the bytes that are free where ``place`` is or would be, if the system tells."""
    for folder in (place, *place.absolute().parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free
    return None


def mebibytes(size: int) -> str:
    """``12 MiB`` for so many bytes, rounded up."""
    return f"{-(-size // (1 << 20)):,} MiB"
