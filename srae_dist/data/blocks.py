"""Blocks of remote shards on the local disk: fetched once, named by their hash, bounded.

A block is a MiB of a shard; the index holds the SHA-256 of each, and a block's file is named by it.
So what is in the cache is right whoever put it there, ranks and runs share it without agreement,
and a shard that changed at its source cannot be mixed up with the one that was indexed.
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.manifest import BLOCK, Digests, Split
from srae_dist.data.remote import RemoteStore

SPOILT = 5  # attempts to get a block whose bytes are wrong: half a second between, then 1, 2, 4
PATIENCE = 60.0  # seconds that another process is given to fetch what this one needs, too
FORGET = 30.0  # seconds after which a block that could not be had is asked for again

_TOUCH = 30.0  # seconds; a use younger than that need not be noted again
_SWEEP = 32  # blocks, or that part of the limit, written between two looks at the folder's size
_OPEN_FILES = 4096  # at most, and what the system allows


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
            f"{folder} cannot be made ({error.strerror}), so it is no cache; set data.cache_dir."
        ) from None
    if hasattr(os, "getuid"):
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise UserError(
                f"{folder} is not this user's alone, so it is no safe cache; set data.cache_dir."
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
        """Give up what is under way, so that nobody waits for it: this process ends."""
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
                "it elsewhere with data.cache_dir."
            ) from None


def _owner() -> bytes:
    """Return what says which process of which machine has claimed a block."""
    return f"{socket.gethostname()} {os.getpid()}".encode()


def _is_dead(partial: Path) -> bool:
    """Tell whether the process that claimed a block was killed; if in doubt, it was not."""
    with partial.open("rb") as file:
        host, _, number = file.read(300).rpartition(b" ")
    if host != socket.gethostname().encode() or not number.isdigit() or os.name != "posix":
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


class RemoteShards:
    """Bytes of a split's remote shards, by way of the cache. Light to send to another process."""

    def __init__(
        self, store: RemoteStore, split: Split, digests: Digests, cache: BlockCache
    ) -> None:
        self.cache = cache
        self.fetched = 0  # bytes that came over the network, for this process
        self._store, self._digests = store, digests
        self._block = BLOCK
        self._names = [shard.file for shard in split.shards]
        self._bytes = [shard.bytes for shard in split.shards]
        counts = np.array(split.block_counts(), np.int64)
        self._bases: list[int] = (np.cumsum(counts) - counts).tolist()
        self._prepare()

    def _prepare(self) -> None:
        self._open: dict[int, int] = {}  # block -> descriptor
        self._failed: dict[int, tuple[float, str]] = {}
        self._proved = set[int]()  # blocks whose bytes this process has seen to be right
        # what the cache deletes takes room as long as it is open here
        self._most = min(_raise_file_limit() // 2, max(16, self.cache.limit // BLOCK // 4))

    def __getstate__(self) -> dict[str, Any]:
        own = ("_open", "_failed", "_proved", "_most")
        return {key: value for key, value in self.__dict__.items() if key not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def where(self, shard: int) -> str:
        """Return a shard's URL."""
        return self._store.where(self._names[shard])

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of a shard, fetched now if they were not before.

        Raises:
            SampleError: they cannot be had, or are not what the index says.
        """
        if offset + size > self._bytes[shard]:
            raise SampleError(f"the index puts {size:,} bytes at {offset:,}, which cannot be")
        number, begin = divmod(offset, self._block)
        block = self._bases[shard] + number
        descriptor = self._open.get(block)
        if descriptor is None:
            descriptor = self._open_block(shard, block)
        try:
            data = os.pread(descriptor, size, begin)
        except OSError as error:
            raise SampleError(f"{self.cache.folder}: {error.strerror or error}") from None
        if len(data) < size:
            if (at := offset + len(data)) % self._block:
                raise SampleError(f"somebody shortened its file in {self.cache.folder}")
            data += self.read(shard, at, size - len(data))
        return data

    def read_open(self, places: Sequence[tuple[int, int, int]]) -> list[bytes] | None:
        """Return the bytes of places in blocks that are open, or None if one is not."""
        opened, bases, whole = self._open, self._bases, self._block
        try:
            files = [
                os.pread(opened[bases[shard] + (offset // whole)], size, offset % whole)
                for shard, offset, size in places
            ]
        except (KeyError, OSError, OverflowError):
            return None
        return files if list(map(len, files)) == [size for _, _, size in places] else None

    def fetch(self, block: int) -> int:
        """Have a block in the cache; returns how many bytes had to be fetched.

        Raises:
            SampleError: it cannot be had, or is not what the index says.
            UserError: the cache cannot be written.
        """
        digest = self._digest(block)
        if self.cache.has(digest):
            return 0
        failed = self._failed.get(block)
        if failed is not None and time.monotonic() - failed[0] < FORGET:
            raise SampleError(failed[1])
        with self.cache.claim(digest) as file:
            if file is None:
                return 0
            try:
                data = self._download(block, digest)
            except SampleError as error:
                self.note_failure(block, str(error))
                raise
            file.write_bytes(data)
            self.note_proved(block, len(data))
            return len(data)

    def note_proved(self, block: int, fetched: int) -> None:
        """Take a block's file as right, which a process of ours has fetched and proved."""
        self._proved.add(block)
        self.fetched += fetched

    def note_failure(self, block: int, reason: str) -> None:
        """Do not ask for a block again for a while."""
        self._failed[block] = (time.monotonic(), reason)

    def close(self) -> None:
        """Close all files; reading opens them again, and looks at them again."""
        self._proved.clear()
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()

    def _download(self, block: int, digest: str) -> bytes:
        shard = int(np.searchsorted(self._bases, block, side="right")) - 1
        offset = (block - self._bases[shard]) * self._block
        size = min(self._block, self._bytes[shard] - offset)
        for attempt in range(SPOILT):  # by a proxy, or while the file is replaced: seconds, often
            if attempt:
                time.sleep(2.0 ** (attempt - 2))
            data = self._store.read_range(self._names[shard], offset, size)
            if hashlib.sha256(data).hexdigest() == digest:
                return data
        raise SampleError(f"bytes {offset:,} to {offset + size:,} are not what the index says")

    def _open_block(self, shard: int, block: int) -> int:
        """Open a block's file, once its bytes have proved right."""
        digest = self._digest(block)
        for _ in range(3):  # between two steps the cache may be swept
            self.fetch(block)
            if (descriptor := self._checked(block, digest)) is not None:
                if len(self._open) >= self._most:
                    os.close(self._open.pop(next(iter(self._open))))
                self._open[block] = descriptor
                return descriptor
        raise SampleError(
            f"the cache {self.cache.folder} loses blocks at once; raise data.cache_gb"
        )

    def _checked(self, block: int, digest: str) -> int | None:
        """Open a block of the cache if it is there and right; a wrong one is deleted."""
        path = self.cache.path(digest)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            return None
        if block in self._proved:
            return descriptor
        if hashlib.sha256(os.pread(descriptor, self._block, 0)).hexdigest() == digest:
            self._proved.add(block)
            return descriptor
        os.close(descriptor)
        path.unlink(missing_ok=True)
        return None

    def _digest(self, block: int) -> str:
        return bytes(self._digests[block]).hex()


_file_limit = threading.Lock()


def _raise_file_limit() -> int:
    """Ask the system for as many open files as it gives, within reason; returns how many."""
    try:
        import resource
    except ImportError:  # Windows
        return 512
    with _file_limit:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                soft = wanted
    return _OPEN_FILES if soft == resource.RLIM_INFINITY else min(soft, _OPEN_FILES)
