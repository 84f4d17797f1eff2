"""Remote shards, read by way of the local cache: each block is fetched once and proved.

A block is a MiB of a shard; the index holds the SHA-256 of each, so a shard that changed at its
source cannot be mixed up with the one that was indexed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from srae_dist.core.errors import SampleError
from srae_dist.data.block_cache import BlockCache
from srae_dist.data.manifest import BLOCK, Digests, Split
from srae_dist.data.remote import RemoteStore

SPOILT = 5  # attempts to get a block whose bytes are wrong
SPOILT_PAUSE = 0.5  # seconds after the first of them; doubled each time
FORGET = 30.0  # seconds after which a block that could not be had is asked for again

_OPEN_FILES = 4096  # at most, and what the system allows


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
        self._spoilt_until: dict[int, float] = {}  # shard -> by the clock
        self._proved = set[int]()  # blocks whose bytes this process has seen to be right
        # what the cache deletes takes room as long as it is open here
        self._most = min(_raise_file_limit() // 2, max(16, self.cache.limit // BLOCK // 4))

    def __getstate__(self) -> dict[str, Any]:
        own = ("_open", "_failed", "_spoilt_until", "_proved", "_most")
        return {key: value for key, value in self.__dict__.items() if key not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def where(self, shard: int) -> str:
        """Return a shard's URL."""
        return self._store.where(self._names[shard])

    def blocks(self, shard: int) -> range:
        """Return the numbers of a shard's blocks."""
        first = self._bases[shard]
        return range(first, first - (-self._bytes[shard] // self._block))

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
        # once one was wrong for so long, the others of its shard are not waited for again and again
        attempts = 2 if time.monotonic() < self._spoilt_until.get(shard, 0.0) else SPOILT
        for attempt in range(
            attempts
        ):  # a proxy, or a file being replaced, may spoil it for a while
            if attempt and attempts == SPOILT:
                time.sleep(SPOILT_PAUSE * 2 ** (attempt - 1))
            data = self._store.read_range(self._names[shard], offset, size)
            if hashlib.sha256(data).hexdigest() == digest:
                return data
        self._spoilt_until[shard] = time.monotonic() + FORGET
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
