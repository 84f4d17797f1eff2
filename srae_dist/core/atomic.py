"""Files and folders that appear under their final name only when complete."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

CHUNK = 1 << 20
_LONGEST = 200  # bytes of a file's name to which more can be added


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    if os.name == "nt":  # Windows cannot open a folder; its rename is journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush one written file to disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing, so that they survive a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(PermissionError):  # a parent that may be entered, but not read
            sync_folder(folder.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside ``path``; on success sync it and rename it into place.

    The temporary name keeps the suffix of ``path``, since image encoders choose by it. On an
    exception it is deleted and ``path`` stays as it was. What a killed process left is taken over
    by the next that writes the same path; one that is still at work is waited for.
    """
    make_folder(path.parent)
    temporary = path.with_name(_hidden(path))
    descriptor = _claim(temporary)
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _claim(path: Path) -> int:
    """Create an empty file, or take over one that was left; its lock goes with the descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        if sys.platform == "win32":
            return descriptor
        with contextlib.suppress(OSError):  # network file systems that know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                os.ftruncate(descriptor, 0)
                return descriptor
        os.close(descriptor)  # its owner has just finished: it has another name now


def _hidden(path: Path) -> str:
    """Return the name under which a file is made."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}.partial{path.suffix}"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; sorted keys, so that equal values are equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # half of a pair: JSON's own \udXXX


def settle_mode(file: Path) -> None:
    """Give a file the permissions of any new one: libraries make theirs private."""
    file.chmod(0o666 & ~_umask())


def publish_folder(temporary: Path, final: Path) -> None:
    """Rename a finished folder into place; ``final`` must not exist. All in it is synced first."""
    for path in sorted(temporary.rglob("*")):
        if path.is_file():
            settle_mode(path)
            sync_file(path)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(temporary)
    temporary.rename(final)
    sync_folder(final.parent)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that a half-deleted one is never mistaken for a whole one."""
    doomed = folder.with_name(f".{folder.name}.deleted")
    if doomed.exists():  # of a process that was killed
        shutil.rmtree(doomed)
    if folder.exists():
        folder.rename(doomed)
        shutil.rmtree(doomed)


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
