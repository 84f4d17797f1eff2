"""JSON from disk that somebody else may have written: bounded, and never waited for."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 64 << 20  # far more than any file of ours has

# without waiting for whoever writes to a pipe
_AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_json(path: Path, *, limit: int = MOST_BYTES) -> Any:
    """Read a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no plain file, has more than ``limit`` bytes, is not JSON, or nests too
            deep.
    """
    with open(os.open(path, _AT_ONCE), "rb") as file:  # noqa: PTH123  a descriptor, not a path
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no plain file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it has more than {limit:,} bytes, which cannot be")
    return parse_json(data)


def parse_json(data: bytes | str) -> Any:
    """Read JSON.

    Raises:
        ValueError: it is none, or nests too deep.
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it nests too deep") from None
