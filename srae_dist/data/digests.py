"""The SHA-256 of a file, and of every block of it, taken in one pass as it is written or read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from srae_dist.data.manifest import BLOCK, Digests


class BlockDigests:
    """Digests of what has been fed in, cut into blocks of ``BLOCK`` bytes, the last one shorter."""

    def __init__(self) -> None:
        self.bytes = 0
        self._whole, self._block = hashlib.sha256(), hashlib.sha256()
        self._done: list[bytes] = []

    def update(self, data: bytes) -> None:
        """Take the next bytes, however they are cut."""
        self._whole.update(data)
        view = memoryview(data)
        while len(view):
            part = view[: BLOCK - self.bytes % BLOCK]
            self._block.update(part)
            self.bytes += len(part)
            view = view[len(part) :]
            if self.bytes % BLOCK == 0:
                self._done.append(self._block.digest())
                self._block = hashlib.sha256()

    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of all bytes so far."""
        return self._whole.hexdigest()

    def digests(self) -> Digests:
        """Return the SHA-256 of each block so far, blocks x 32."""
        rest = [self._block.digest()] if self.bytes % BLOCK else []
        return np.frombuffer(b"".join((*self._done, *rest)), np.uint8).reshape(-1, 32)


def digests_of_file(path: Path) -> BlockDigests:
    """Return the digests of a whole file."""
    digests = BlockDigests()
    with path.open("rb") as file:
        while chunk := file.read(BLOCK):
            digests.update(chunk)
    return digests
