"""Whole shards as files, wherever they live: to be read from the beginning to the end."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.manifest import BLOCK, Split
from srae_dist.data.prefetch import Prefetcher
from srae_dist.data.store import LocalStore

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from srae_dist.data.blocks import RemoteShards
    from srae_dist.data.opened import OpenSplit

AHEAD = 24  # blocks fetched before they are needed
_THREADS = 8
_BUFFER = 64 << 10  # bytes; headers of a tar file are small


class Unreachable(UserError):
    """A remote shard cannot be had now. Nothing in it is known to be bad, so nobody skips it."""


class ShardFiles(Protocol):
    """The shards of a split."""

    def where(self, shard: int) -> str:
        """Return a shard's path or URL, for messages."""
        ...

    def open(self, shard: int, *, in_order: bool = False) -> BinaryIO:
        """Open a shard; ``in_order`` says that all of it will be read.

        Raises:
            OSError: it cannot be opened.
        """
        ...


class LocalFiles:
    """The shards of a folder."""

    def __init__(self, root: Path, split: Split) -> None:
        self._paths = [root / shard.file for shard in split.shards]

    def where(self, shard: int) -> str:
        """Return a shard's path."""
        return str(self._paths[shard])

    def open(self, shard: int, *, in_order: bool = False) -> BinaryIO:
        """Open a shard."""
        return self._paths[shard].open("rb")


class RemoteFiles:
    """Remote shards, whose blocks come through the cache and are proved."""

    def __init__(self, shards: RemoteShards, split: Split) -> None:
        self._shards = shards
        self._bytes = [shard.bytes for shard in split.shards]
        self._lock = threading.Lock()  # one descriptor may be closed while another thread reads it
        self._asked = range(0)  # blocks ahead that were asked for last
        self._prefetcher: Prefetcher | None = None

    def where(self, shard: int) -> str:
        """Return a shard's URL."""
        return self._shards.where(shard)

    def open(self, shard: int, *, in_order: bool = False) -> BinaryIO:
        """Open a shard; if it is read in order, the blocks that follow are fetched meanwhile.

        Reading raises ``Unreachable`` where the bytes cannot be had, after all retries.
        """
        raw = _RemoteFile(self, shard, self._bytes[shard], in_order=in_order)
        return cast(BinaryIO, io.BufferedReader(raw, _BUFFER))

    def read(self, shard: int, offset: int, size: int, *, in_order: bool) -> bytes:
        """Return bytes of one block of a shard."""
        try:
            with self._lock:
                if in_order:
                    self._look_ahead(shard, offset // BLOCK)
                return self._shards.read(shard, offset, size)
        except SampleError as error:
            raise Unreachable(
                f"{self.where(shard)} cannot be read: {error}; once it can be had, run the same "
                "command again to go on."
            ) from None

    def _look_ahead(self, shard: int, number: int) -> None:
        blocks = self._shards.blocks(shard)
        wanted = blocks[number + 1 : number + 1 + self._most_ahead()]
        new = [block for block in wanted if block not in self._asked]
        if new:
            self._prefetcher = self._prefetcher or Prefetcher(self._shards, threads=_THREADS)
            self._prefetcher.want(new)
            self._asked = wanted

    def _most_ahead(self) -> int:
        return min(AHEAD, self._shards.cache.limit // BLOCK // 4)


class _RemoteFile(io.RawIOBase):
    """A remote shard, as a file."""

    def __init__(self, files: RemoteFiles, shard: int, length: int, *, in_order: bool) -> None:
        super().__init__()
        self._files, self._shard, self._length, self._in_order = files, shard, length, in_order
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._length}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        size = min(len(view), self._length - self._place, BLOCK - self._place % BLOCK)
        if size <= 0:
            return 0
        data = self._files.read(self._shard, self._place, size, in_order=self._in_order)
        view[:size] = data
        self._place += size
        return size


def files_of(opened: OpenSplit) -> ShardFiles:
    """Return a split's shards as files."""
    if opened.remote is not None:
        return RemoteFiles(opened.remote, opened.split)
    assert isinstance(opened.store, LocalStore)
    return LocalFiles(opened.store.root, opened.split)
