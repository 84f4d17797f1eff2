"""Bytes of the shards of a folder: one ``pread`` a sample, files kept open."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

from srae_dist.core.errors import SampleError
from srae_dist.data.manifest import Split

OPEN_FILES = 128  # shards kept open by one process


class LocalShards:
    """Reads parts of a split's shards; files are opened when first needed, so that it is light to
    send to another process."""

    def __init__(self, root: Path, split: Split) -> None:
        self._root = root
        self._names = [shard.file for shard in split.shards]
        self._bytes = [shard.bytes for shard in split.shards]
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

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
            data = _read_at(self._file(shard), offset, size)
        except OSError as error:
            raise SampleError(error.strerror or str(error)) from None
        if len(data) < size:
            raise SampleError(f"the file ends before byte {offset + size:,}")
        return data

    def close(self) -> None:
        """Close all files; reading opens them again."""
        while self._files:
            self._files.popitem()[1].close()

    def _file(self, shard: int) -> BinaryIO:
        file = self._files.get(shard)
        if file is None:
            if len(self._files) >= OPEN_FILES:
                self._files.popitem(last=False)[1].close()
            file = (self._root / self._names[shard]).open("rb", buffering=0)
            self._files[shard] = file
        else:
            self._files.move_to_end(shard)
        return file


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    file.seek(offset)
    return file.read(size)
