"""A tar file whose bytes depend on its members alone: no clock, no user, one mode."""

from __future__ import annotations

import tarfile
from typing import BinaryIO

from srae_dist.data.digests import BlockDigests
from srae_dist.data.manifest import BLOCK, Digests

UNIT = 512  # bytes that headers have and data is padded to

_MODE = 0o644


class Tar:
    """Writes members one after the other, a block at a time, and digests what it writes.

    (webdataset's writer sorts members by suffix and does not tell where they lie.)
    """

    def __init__(self, file: BinaryIO) -> None:
        self.bytes = 0
        self._file, self._digests = file, BlockDigests()
        self._parts: list[bytes] = []
        self._waiting = 0

    def add(self, name: str, data: bytes) -> int:
        """Append a member; return where its data begins."""
        start = self.bytes + UNIT
        self._put(header(name, len(data)), data, bytes(-len(data) % UNIT))
        return start

    def end(self) -> None:
        """Append the end mark; only then the digests are those of the file."""
        self._put(bytes(2 * UNIT))
        self._flush()

    def sha256(self) -> str:
        """Return the file's hexadecimal SHA-256."""
        return self._digests.sha256()

    def blocks(self) -> Digests:
        """Return the SHA-256 of each block of the file, blocks x 32."""
        return self._digests.digests()

    def _put(self, *parts: bytes) -> None:
        self._parts += parts
        size = sum(map(len, parts))
        self._waiting += size
        self.bytes += size
        if self._waiting >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._parts)
        self._file.write(data)
        self._digests.update(data)
        self._parts.clear()
        self._waiting = 0


def header(name: str, size: int) -> bytes:
    """Return a member's ustar header, as ``tarfile`` would make it in ten times the time.

    Raises:
        ValueError: ``name`` is longer than ustar can hold.
    """
    text = name.encode("ascii")
    if len(text) > 100:
        return _slow_header(name, size)
    digits = b"%011o" % size
    check = _BLANK_SUM + sum(text) + sum(digits)
    return b"%b%b%b%b%06o%b" % (text.ljust(100, b"\0"), _OWNER, digits, _TIME, check, _REST)


def _slow_header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, _MODE, 0
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


_BLANK = _slow_header("", 0)
# what lies between the name, the size's 11 digits, the checksum's 6, and the end
_OWNER, _TIME, _REST = _BLANK[100:124], _BLANK[135:148], _BLANK[154:]
_BLANK_SUM = int(_BLANK[148:154], 8) - sum(_BLANK[124:135])
