"""Shared fixtures: one thread everywhere, and a small shard folder of built-in faces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# a shell's background jobs, and some CI systems', begin with SIGINT ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("ACCELERATE_MIXED_PRECISION", None)


FACES = [sys.executable, "-m", "srae_dist.shard", "--faces", "96", "--size", "32"]
FACES += ["--domains", "photo,anime", "--format", "png", "--shards", "4"]


@pytest.fixture(scope="session")
def face_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 faces of two domains, 32 x 32, PNG, with a held-out split."""
    root = tmp_path_factory.mktemp("shards") / "faces"
    done = subprocess.run([*FACES, "--out", str(root)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(autouse=True)
def _forget_the_accelerator() -> Iterator[None]:
    """A process trains once, and accelerate holds it to that; tests train often, in any order."""
    yield
    if "accelerate.state" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)
