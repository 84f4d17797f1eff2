"""Bytes of the shards of a folder: one ``pread`` a sample, files kept open."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from srae_dist.core.errors import SampleError
from srae_dist.data.manifest import Split

OPEN_FILES = 256  # shards kept open by one process

_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class LocalShards:
    """Reads parts of a split's shards; files are opened when first needed, so that it is light to
    send to another process."""

    def __init__(self, root: Path, split: Split) -> None:
        self._root = root
        self._names = [shard.file for shard in split.shards]
        self._bytes = [shard.bytes for shard in split.shards]
        self._open: dict[int, int] = {}  # shard -> descriptor

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def where(self, shard: int) -> str:
        """Return a shard's path."""
        return str(self._root / self._names[shard])

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of a shard.

        Raises:
            SampleError: it cannot be read, or ends before.
        """
        if offset + size > self._bytes[shard]:
            raise SampleError(f"the index puts {size:,} bytes at {offset:,}, which cannot be")
        try:
            descriptor = self._open.get(shard)
            if descriptor is None:
                descriptor = self._open_file(shard)
            data = _read_at(descriptor, size, offset)
        except OSError as error:
            raise SampleError(error.strerror or str(error)) from None
        if len(data) < size:
            raise SampleError(f"the file ends before byte {offset + size:,}")
        return data

    def read_open(self, places: Sequence[tuple[int, int, int]]) -> list[bytes] | None:
        """Return the bytes of places in files that are open, or None if one is not, or is short."""
        opened = self._open
        try:
            files = [_read_at(opened[shard], size, offset) for shard, offset, size in places]
        except (KeyError, OSError, OverflowError):
            return None
        return files if list(map(len, files)) == [size for _, _, size in places] else None

    def close(self) -> None:
        """Close all files; reading opens them again."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        if os is not None:  # at the interpreter's end modules go first, and it closes files itself
            self.close()

    def _open_file(self, shard: int) -> int:
        if len(self._open) >= OPEN_FILES:  # lanes move on together: the oldest are done with
            os.close(self._open.pop(next(iter(self._open))))
        descriptor = os.open(self._root / self._names[shard], _FLAGS)
        self._open[shard] = descriptor
        return descriptor


def _seek_and_read(descriptor: int, size: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


_read_at: Callable[[int, int, int], bytes] = getattr(os, "pread", _seek_and_read)
