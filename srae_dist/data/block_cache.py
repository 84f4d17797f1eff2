"""The cache of remote shards: blocks on the local disk, named by their hash, bounded.

A block's file is named by its SHA-256. So what is in the cache is right whoever put it there, and
ranks and runs share it without agreement.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import hashlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srae_dist.core.errors import UserError
from srae_dist.data.manifest import BLOCK

ELSEWHERE = "data.cache_dir (translating: --cache-dir)"  # how a user moves it
PATIENCE = 60.0  # seconds that another process is given to fetch what this one needs, too

_MOMENT = 1.0  # seconds from making a claim to signing it; a longer one costs a second download
_TOUCH = 30.0  # seconds; a use younger than that need not be noted again
_SWEEP = 32  # blocks, or that part of the limit, written between two looks at the folder's size


def default_cache_folder() -> Path:
    """Return a folder of this user's in the system's temporary folder.

    Raises:
        UserError: somebody else made it, or may write to it.
    """
    name = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    folder = Path(tempfile.gettempdir(), f"srae_dist-{name}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:  # a file or a dangling link there is one, too
        raise UserError(
            f"{folder} cannot be made ({error.strerror}), so it is no cache; set {ELSEWHERE}."
        ) from None
    if hasattr(os, "getuid"):
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise UserError(
                f"{folder} is not this user's alone, so it is no safe cache; set {ELSEWHERE}."
            )
    return folder / "blocks"


class BlockCache:
    """A folder of files named by their SHA-256, of about ``limit`` bytes at most.

    Many processes may share it: files appear by rename, and what was not used for the longest time
    goes first.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._unswept = self._period  # bytes written; the first block looks at what is there
        self._under_way = set[Path]()  # files of this process that are not finished

    @property
    def _period(self) -> int:
        """Bytes between two looks: looking at all files takes as long as fetching many blocks."""
        return max(_SWEEP * BLOCK, self.limit // _SWEEP)

    def path(self, digest: str) -> Path:
        """Return where a block is, or would be."""
        return self.folder / digest[:2] / digest

    def has(self, digest: str) -> bool:
        """Tell whether a block is there, and note that it is of use."""
        path = self.path(digest)
        try:
            if time.time() - path.stat().st_mtime > _TOUCH:
                os.utime(path)
        except OSError:  # not there, or gone this moment
            return False
        return True

    def get(self, digest: str) -> bytes | None:
        """Return a block's bytes if they are there and right; wrong ones are deleted."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != digest:
            path.unlink(missing_ok=True)
            return None
        return data

    @contextlib.contextmanager
    def claim(self, digest: str) -> Iterator[Path | None]:
        """Yield a file to write a block to, which then takes its place; or None if it is there.

        Waits while another process has claimed it, but not for ever.

        Raises:
            UserError: the folder cannot be written, or its disk is full.
        """
        path = self.path(digest)
        partial = path.with_name(f"{digest}.partial")
        with self._explained():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mine = self._claimed(partial, path)
        if not mine:
            yield None
            return
        # not the claim itself: to the end that says whose it is, and it may be taken over
        data = path.with_name(f"{digest}.{os.getpid()}-{threading.get_ident()}")
        self._under_way.update((data, partial))
        try:
            with self._explained():
                yield data
                data.replace(path)
        finally:
            for file in (data, partial):
                file.unlink(missing_ok=True)
                self._under_way.discard(file)
        with contextlib.suppress(OSError):  # another process may have swept it away
            self._unswept += path.stat().st_size
        if self._unswept >= self._period:
            self._unswept = 0
            self.sweep()

    def abandon(self) -> None:
        """Give up what is under way, so that nobody waits for it: who fetches it ends."""
        for file in list(self._under_way):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_under_way": set[Path]()}

    def sweep(self) -> None:
        """Delete the blocks unused for the longest time, if there is more than the limit."""
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                files = sorted(self._files())
                total = sum(size for _, size, _ in files)
                for _, size, path in files:
                    if total <= self.limit:
                        break
                    Path(path).unlink(missing_ok=True)
                    total -= size
        except (Timeout, OSError):  # another process is at it
            return

    def _files(self) -> Iterator[tuple[float, int, str]]:
        for folder in os.scandir(self.folder):
            if folder.is_dir(follow_symlinks=False):
                for file in os.scandir(folder):
                    with contextlib.suppress(OSError):  # gone this moment
                        status = file.stat(follow_symlinks=False)
                        yield status.st_mtime, status.st_size, file.path

    def _claimed(self, partial: Path, path: Path) -> bool:
        """Claim a block; False if another process brought it meanwhile."""
        begun = time.monotonic()
        while not self.has(path.name):
            try:
                descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                try:
                    os.write(descriptor, _owner())
                finally:
                    os.close(descriptor)
                if not self.has(path.name):
                    return True
                partial.unlink(missing_ok=True)  # it came between the question and the claim
            except FileExistsError:
                with contextlib.suppress(OSError):
                    abandoned = time.time() - partial.stat().st_mtime > PATIENCE
                    if abandoned or _is_dead(partial) or time.monotonic() - begun > PATIENCE:
                        partial.unlink(missing_ok=True)
                time.sleep(0.003)
        return False

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno is None:  # a store's word for a missing file, not the system's
                raise
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "is full" if full else f"cannot be used ({error.strerror or error})"
            raise UserError(
                f"The cache of remote shards, {self.folder}, {what}; lower data.cache_gb, or put "
                f"it elsewhere with {ELSEWHERE}."
            ) from None


def _owner() -> bytes:
    """Return what says which process of which machine has claimed a block."""
    return f"{socket.gethostname()} {os.getpid()}".encode()


def _is_dead(partial: Path) -> bool:
    """Tell whether the process that claimed a block was killed; if in doubt, it was not."""
    with partial.open("rb") as file:
        host, _, number = (owner := file.read(300)).rpartition(b" ")
    if not owner:  # killed before it could say whose it is, unless that is this very moment
        return time.time() - partial.stat().st_mtime > _MOMENT
    if host != socket.gethostname().encode() or not number.isdigit() or os.name != "posix":
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
