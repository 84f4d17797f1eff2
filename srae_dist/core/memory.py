"""Freed memory stays with the process: batches come and go, and fresh pages are zeroed one by one.

By default glibc gives large blocks back to the system at once, and every batch then pays for its
pages again: measured here, a third of the time from shards to float batches. Told to keep them, it
cuts them up: a batch of 256 images of 256 x 256 pixels, 201 MB of floats, found no whole block for
ten batches or more, and training at that size took twice the memory. So it keeps what is smaller,
and memory for the pixels of a batch is kept here.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

_Blocks = deque[NDArray[np.uint8]]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names for them


def keep_freed_memory() -> bool:
    """Have the C library keep freed blocks for reuse, up to 2 GiB; returns whether it agreed.

    Only glibc (most Linux systems) has the setting and the need. A process calls it once, before
    torch makes its first tensor: torch is asked for huge pages, too, and reads that wish only then.
    """
    if sys.platform != "linux":
        return False
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, musl for instance
        return False
    # a block below the threshold, the highest there is, is not mapped by itself, which would be
    # unmapped when freed; and the heap is not trimmed
    return bool(mallopt(_MMAP_THRESHOLD, 32 << 20) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))


_LARGE = 4 << 20  # bytes, from where NumPy asks for huge pages; the C library does well below
_KEPT = 4  # blocks: pixels and floats of a batch in use and of one read ahead


def _references(blocks: _Blocks) -> list[int]:
    """Count what refers to each block; a view or a tensor of a block refers to it, too."""
    return [sys.getrefcount(block) for block in blocks]


_ALONE = _references(deque([np.empty(0, np.uint8)]))[0]  # the count when nothing else does
_blocks: _Blocks = deque(maxlen=_KEPT)
_lock = threading.Lock()


def empty_bytes(count: int) -> NDArray[np.uint8]:
    """Return ``count`` bytes of memory with anything in it.

    A large block is kept, and given out again when no array, view or tensor of it is left. It lies
    in huge pages where Linux lends them.
    """
    if count < _LARGE:
        return np.empty(count, np.uint8)
    with _lock:
        for number, references in enumerate(_references(_blocks)):
            if references == _ALONE and len(_blocks[number]) == count:
                return _blocks[number]
        _blocks.append(np.empty(count, np.uint8))
        return _blocks[-1]
