"""How much of the loader's local speed is left over HTTP, with some milliseconds a request.

    python benchmarks/remote.py SHARDS [--delay 0.02] [--rounds 7] [--workers 0] [--window 1024]

SHARDS is a folder that `srae-dist shard` wrote; it should hold more than is read in a round. A
server on loopback, in a process of its own, gives every request that delay; the cache is empty at
the start of each round. Local and remote rounds alternate; a third follows, if curl is there: the
local loader while curl and sha256sum, in processes of their own, fetch as fast as ours just did.
What that one loses is the machine's, not the loader's. What was fetched while the time was
taken is told, too: the look-ahead may bring a small data set before that, and then only a smaller
window shows what fetching costs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))

from servers import http_server

from srae_dist.core.errors import UserError
from srae_dist.core.memory import keep_freed_memory
from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import OpenSplit, open_split
from srae_dist.runtime import console


def serve(root: Path, delay: float, told: multiprocessing.SimpleQueue[str]) -> None:
    with http_server(root) as server:
        server.delay = delay
        told.put(server.url)
        time.sleep(3600)


def speed(
    split: OpenSplit, *, workers: int, steps: int, skip: int, window: int
) -> tuple[float, float, float]:
    """Images, and MiB fetched here, a second after ``skip`` steps; seconds to the first batch."""
    order = make_order(
        split, seed=0, global_batch=256, balance="natural", lanes=None, window=window
    )
    loader = make_loader(
        split,
        order,
        rank=0,
        world=1,
        micro_batch=256,
        start_step=0,
        stop_step=1 << 40,
        workers=workers,
        pin=False,
    )
    begun = time.perf_counter()
    with closing(loader):
        next(loader)
        first = time.perf_counter() - begun
        for _ in itertools.islice(loader, skip):
            pass
        before = split.remote.fetched if split.remote else 0
        begun = time.perf_counter()
        count = sum(len(batch.keys) for batch in itertools.islice(loader, steps))
        took = time.perf_counter() - begun
        fetched = split.remote.fetched - before if split.remote else 0
        return count / took, fetched / took / 2**20, first


@contextlib.contextmanager
def curl(url: str, root: Path, rate: float) -> Iterator[None]:
    """Fetch shards again and again, ``rate`` MiB a second, and hash them."""
    with tempfile.TemporaryDirectory() as folder:
        files = " ".join(file.name for file in sorted(root.glob("train-*.tar")))
        fetch = f"curl -s --limit-rate {int(rate * 2**20)} {url}/$f -o fetched && sha256sum fetched"
        command = f"while true; do for f in {files}; do {fetch}; done; done"
        process = subprocess.Popen(
            ["sh", "-c", command], cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            time.sleep(0.5)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def told_ratios(name: str, ratios: list[float]) -> str:
    return (
        f"{name} / local: median {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--skip", type=int, default=20)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--window", type=int, default=1024)
    given = parser.parse_args()
    open_split(given.shards, "train")  # what is wrong with them is told before a server starts
    torch.set_num_threads(1)
    keep_freed_memory()
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    server = context.Process(target=serve, args=(given.shards, given.delay, told), daemon=True)
    server.start()
    url = told.get()
    ratios, bounds, firsts = [], [], []
    options = {name: getattr(given, name) for name in ("workers", "steps", "skip", "window")}
    for number in range(given.rounds):
        local, _, _ = speed(open_split(given.shards, "train"), **options)
        with tempfile.TemporaryDirectory() as cache:
            remote, fetched, first = speed(
                open_split(url, "train", cache_dir=Path(cache)), **options
            )
        ratios.append(remote / local)
        firsts.append(first)
        if shutil.which("curl"):
            with curl(url, given.shards, fetched):
                beside, _, _ = speed(open_split(given.shards, "train"), **options)
            bounds.append(beside / local)
        console.info(
            f"round {number}: local {local:,.0f}, remote {remote:,.0f} images/s while "
            f"{fetched:.0f} MiB/s were fetched, first batch after {first:.2f} s"
        )
    console.info(f"{told_ratios('remote', ratios)}; first batch {statistics.median(firsts):.2f} s")
    if bounds:
        console.info(told_ratios("local beside curl", bounds))
    server.terminate()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        console.error(str(error))
        sys.exit(int(error.exit_code))
