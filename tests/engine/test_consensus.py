"""Ranks talk on the host, and give a silent one up when the recipe says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")

RANK = """
import sys
from accelerate import Accelerator
from srae_dist.engine.consensus import Consensus
from srae_dist.runtime.launch import join_world

world = join_world(timeout=1000)
talk = Consensus(Accelerator(cpu=True), timeout=3)
talk.wait()
if world.rank == 1:
    sys.stdin.read()  # alive, and silent
else:
    try:
        talk.wait()
    except RuntimeError as error:
        print(f"given up: {error}")
"""


def test_a_silent_rank_is_given_up_after_the_recipes_time_not_the_launchs() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            env={**os.environ, **shared, "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        said, _ = ranks[0].communicate(timeout=120)
        assert ranks[1].poll() is None
        assert "given up" in said
        assert ranks[0].returncode == 0
    finally:
        for process in ranks:
            process.kill()
            process.communicate()
