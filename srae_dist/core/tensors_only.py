"""What other packages read with torch is held to tensors: no pickle of theirs runs anything."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch then refuses everything but tensors


@contextlib.contextmanager
def tensors_only() -> Iterator[None]:
    """Let torch, whoever calls it meanwhile, read nothing but tensors from weight files."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FORCE]
        else:
            os.environ[_FORCE] = before
